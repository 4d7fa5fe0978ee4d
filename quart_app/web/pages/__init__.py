"""HTML views, by subject."""
