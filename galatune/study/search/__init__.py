"""The smaller search: its study, its trials, and when it ends."""
