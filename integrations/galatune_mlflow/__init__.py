"""galatune's reports in MLflow."""
