"""The comparison of stored trials: groups, an audit of early stopping, verdicts, a report."""
