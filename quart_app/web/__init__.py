"""HTTP in, HTTP out. A view parses to plain values, calls one use case and shows what it returns."""
