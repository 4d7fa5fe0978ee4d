"""Commands for operators, one module for each noun, by the same use cases as the web.

`command_line` puts them together for `python -m quart_app`; `migrate` is
scripts/migrate_to_cookie_sessions.py.
"""
