"""What is done to torch, and how each of it is undone."""
