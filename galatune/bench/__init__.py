"""The testbed: tasks, methods, seeds."""
