"""Single trainings of old best configurations: tuned, at the old rate, controlled, and with a prior."""
