"""What a start leaves on the terminal."""
