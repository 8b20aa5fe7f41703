"""What stored trials say: which of them compare, what is read of them, and how certain it is."""
