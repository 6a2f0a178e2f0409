"""Which parameters are learning rates, with evidence; the plan of the smaller search."""
