"""Readiness, which load balancers ask for."""
