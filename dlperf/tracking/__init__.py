"""The tracking contract on MLflow, and nothing else imports mlflow."""
