"""What control costs: time and memory beside the same training without it."""
