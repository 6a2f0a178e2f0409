"""Learning-rate control beside tuned rates and other optimizers: tasks, methods and seeds."""
