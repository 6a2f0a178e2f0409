"""Six objectives as users write them, on generated data, data of the packages, and one real table."""
