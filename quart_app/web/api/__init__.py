"""JSON views, by resource."""
