"""The migration of a SQLite file."""
