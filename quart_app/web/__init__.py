"""HTTP in, HTTP out. A view parses to plain values, calls one use case, shows what it returns."""
