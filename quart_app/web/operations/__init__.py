"""Health, readiness, a proxy's question about a session, and browsers' reports."""
