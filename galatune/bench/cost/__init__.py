"""What control costs: time and memory compared with the same training without it."""
