"""What trials were and cost: one row per trial, what counts as a match, what a trial records."""
