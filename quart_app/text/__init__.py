"""Text of people and strangers: what is printable, what a name is, which names are the same."""
