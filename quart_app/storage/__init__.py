"""Queries: functions of the transaction `db` that return a model object, None or a list."""
