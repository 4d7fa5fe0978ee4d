"""Steps of use cases about accounts: apps, tokens, and what servers say about accounts."""
