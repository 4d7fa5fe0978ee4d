"""The migration of a PostgreSQL database."""
