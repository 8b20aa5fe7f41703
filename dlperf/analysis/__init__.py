"""What stored trials say: which of them compare, what is read from them, and how certain it is."""
