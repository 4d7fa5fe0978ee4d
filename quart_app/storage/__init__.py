"""Queries: functions that take the transaction `db` first and return a model object, None or a list."""
