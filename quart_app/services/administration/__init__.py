"""Use cases for administrators and operators."""
