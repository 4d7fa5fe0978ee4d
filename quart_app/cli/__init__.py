"""Commands for operators, one module for each noun. They call the same use cases as the web.

`command_line` is `python -m quart_app`; `migrate` is scripts/migrate_to_cookie_sessions.py.
"""
