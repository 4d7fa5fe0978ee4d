"""Steps that every request and response passes."""
