"""How sessions begin, end and are followed."""
