"""What README, docs and results say of measured trials: where it comes from, and the texts between their markers."""
