"""Numbers of things in words."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 row`, `2 rows` or `1,000 rows`; `plural` is for nouns that take more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def column_of_rows(number: int) -> str:
    """Return a number of rows for a table in a terminal, always of one width."""
    return f"{number:>12,} {'row' if number == 1 else 'rows':<4}"
