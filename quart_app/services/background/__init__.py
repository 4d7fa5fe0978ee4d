"""Work beside requests: periodic tasks, purges, and use cases that outlive their request."""
