"""The parameter groups of one optimizer: states, applied rates, and what the rule is told of them."""
