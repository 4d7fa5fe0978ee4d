"""Stand-ins for Fediverse servers: one small Quart application, and a table of how each differs.

`scripts/serve --demo` serves one of them; tests serve all. They follow the published API
documentation of each software, only as far as connecting an account goes.
"""
