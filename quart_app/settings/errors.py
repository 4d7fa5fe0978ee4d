"""The error for a wrong setting."""

PREFIX = "QUART_APP_"


class SettingsError(Exception):
    """A setting is missing, misspelt or wrong; the message is one line that names it."""
