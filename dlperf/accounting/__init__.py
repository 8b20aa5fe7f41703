"""Closed forms for parameters and multiplications: neither TensorFlow nor MLflow is imported here."""
