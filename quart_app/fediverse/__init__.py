"""Outbound HTTP to Fediverse instances lives here; nothing speaks to one yet."""
