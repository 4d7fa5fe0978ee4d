"""Health, readiness and browsers' reports."""
