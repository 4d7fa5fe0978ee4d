"""The Chromium on this machine, for tests and pictures."""

from pathlib import Path

# The shell is Chromium without the windows, tabs and profiles of the browser around it: the same
# pages for two thirds of the processor time. Debian has both.
PROGRAMS = (Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium"))


def chromium_path() -> Path | None:
    """Return the program to start; None if neither is installed."""
    return next((path for path in PROGRAMS if path.exists()), None)
