"""What a search cost and what the smaller one saved."""
