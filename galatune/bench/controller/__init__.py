"""Learning-rate control against tuned rates and other optimizers: tasks, methods and seeds."""
