"""Steps of use cases that record an audit event in an open transaction."""
