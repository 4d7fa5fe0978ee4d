"""Text from outside: escaping it for output, checking names, and comparing names."""
