"""Several processes of one machine that run the trials of one search."""
