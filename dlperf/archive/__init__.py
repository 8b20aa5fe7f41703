"""Finished trials as files: Parquet parts, one per sweep, and an index of them."""
