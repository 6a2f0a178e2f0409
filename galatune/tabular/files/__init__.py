"""Tables in files: read them, fit an estimator, score it, describe it on a card, and predict."""
