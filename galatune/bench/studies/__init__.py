"""Whole studies: objectives as users write them x ways to search them x seeds."""
