"""How much the final loss depends on the rate that an optimizer was built with."""
