"""Queries: functions of the transaction `db`, which return a model object, None or a list."""
