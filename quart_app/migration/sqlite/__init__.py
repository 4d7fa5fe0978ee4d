"""What SQLite does in its own way."""
