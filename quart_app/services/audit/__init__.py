"""The audit log: events are recorded, refusals counted, old rows purged."""
