#!/usr/bin/env python3
"""Adopt the older application's database and remove its session table.

See docs/migration.md. Relative paths start at the working directory.
"""

import sys

from environment import run_in_environment

run_in_environment("requirements.lock", stay=True)

from quart_app.cli.migrate import main

sys.exit(main(until_exit=True))
