"""Outbound HTTP to Fediverse servers, whose addresses users type. No database, no session."""
