"""The tracking contract on MLflow, and nothing else imports mlflow."""

import os

# MLflow reads it when it is imported; whoever wants its notices, as of the tables that it makes, sets INFO.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
