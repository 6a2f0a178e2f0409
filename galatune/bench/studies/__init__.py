"""Whole studies: objectives as users write them, and the ways of searching them once more."""
