"""Steps of use cases that issue or revoke sessions in an open transaction."""
