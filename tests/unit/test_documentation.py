"""docs/http.md names every route and error code; docs/security.md names tests that exist."""

import ast
import os
import re
import sys
from functools import cache
from pathlib import Path

import click

from quart_app import errors
from quart_app.app import create_app
from quart_app.cli.command_line import cli
from quart_app.settings import Settings
from quart_app.web.operations import auth_verify
from quart_app.web.rendering.error_responses import _STATUS
from tests.conftest import ENCRYPTION_KEY, SECRET_KEY
from tests.error_classes import answered_errors
from tests.servers import ROOT

PAGE = (ROOT / "docs/http.md").read_text()
SECURITY = ROOT / "docs/security.md"
# The parts of OWASP ASVS 5.0.0 for an application with a login, sessions and linked accounts.
REQUIREMENTS = re.findall(
    r"\S+",
    """
7.1.1 7.1.2 7.1.3 7.2.1 7.2.2 7.2.3 7.2.4 7.3.1 7.3.2 7.4.1 7.4.2 7.4.3 7.4.4 7.4.5 7.5.1 7.5.2
7.5.3 7.6.2
9.1.1 9.1.2 9.1.3 9.2.1 9.2.2 9.2.3 9.2.4
3.3.1 3.3.2 3.3.3 3.3.4 3.3.5 3.4.1 3.4.2 3.4.3 3.4.3 3.4.4 3.4.5 3.4.6 3.4.7 3.4.8 3.5.1 3.5.2
3.5.3 3.5.8 3.7.2 14.2.1 14.3.1 14.3.2 14.3.3
6.1.1 6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.2.9 6.2.10 6.2.11 6.2.12 6.3.1 6.3.2
6.3.3 6.3.5 6.3.7 6.3.8 6.4.1 6.4.6 6.8.1
11.4.2 11.2.2 11.2.4 13.3.1 13.3.4
2.4.1 4.1.3 8.3.2 15.4.2 16.2.1 16.2.2 16.2.5 16.3.1 16.3.2 16.3.3 16.3.4 16.4.2 16.5.2 16.5.3
""",
)
MARKS = ["Not met", "In part", "Nothing to meet yet"]
# Error codes of the framework's own refusals, which have no class here.
FRAMEWORK_CODES = {"bad_request", "method_not_allowed", "request_timeout", "internal_server_error"}


def test_every_json_route_is_described() -> None:
    app = create_app(Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,)))
    routes = {
        (method, re.sub("<.*?>", "<id>", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") or rule.endpoint.startswith(("operations.", "metrics."))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    routes.add(("GET", auth_verify.PATH))  # answered before the application's routes
    assert routes == set(re.findall(r"`(GET|POST|PATCH|DELETE) (/\S+)`", PAGE))


def test_every_error_code_is_described_with_its_status() -> None:
    described = {
        (int(status), code)
        for status, codes in re.findall(r"(?m)^\| (\d{3}) \| (.*) \|$", PAGE)
        for code in re.findall("`([a-z_]+)`", codes)
    }
    of_pages_only: set[type[errors.AppError]] = {errors.SetUpLinkInvalid}
    ours = {(int(_STATUS[kind.category]), kind.code) for kind in answered_errors() - of_pages_only}
    assert not any(status == 500 for status, _ in ours)  # each has a category
    assert {code for code in described if code[1] not in FRAMEWORK_CODES} == ours


def rows() -> list[list[str]]:
    """Return the cells of each requirement's row."""
    found = re.findall(r"(?m)^\| (\d+\.\d+\.\d+ · L\d \|.*) \|$", SECURITY.read_text())
    return [[cell.strip() for cell in row.split("|")] for row in found]


@cache
def functions_in(path: Path) -> set[str]:
    defined = ast.FunctionDef | ast.AsyncFunctionDef
    return {each.name for each in ast.parse(path.read_text()).body if isinstance(each, defined)}


def test_every_requirement_has_a_row_with_its_test_or_the_gap() -> None:
    assert [row[0].partition(" ")[0] for row in rows()] == REQUIREMENTS
    for row in rows():
        assert len(row) == 4, row[0]
        is_met = not row[3].startswith("**")
        assert row[2] or not is_met, row[0]
        # A row that is met by an absence, or only in the code, says so.
        assert re.search("`tests/[^`]+::test_|the code only|nothing to show", row[3]) or not is_met


def test_the_summary_matches_the_rows() -> None:
    text = " ".join(SECURITY.read_text().split())
    left = [row for row in rows() if row[3].startswith("**")]
    for mark in MARKS:
        (listed,) = re.findall(rf" {mark}: ([\d.]+ · L\d(?:, [\d.]+ · L\d)*)\.", text)
        marked = [row for row in left if row[3].startswith(f"**{mark}")]
        assert sorted(listed.split(", ")) == sorted(row[0] for row in marked), mark
        left = [row for row in left if row not in marked]
    assert left == []


def test_every_test_and_file_named_on_the_security_page_exists() -> None:
    text = SECURITY.read_text()
    named = re.findall(r"`((?:quart_app|tests|docs|scripts)/[\w./-]+)(?:::(\w*))?`", text)
    linked = [(f"docs/{each}", "") for each in re.findall(r"\]\(([\w/.-]+\.md)", text)]
    assert len(named) > len(REQUIREMENTS)
    assert text.count("tests/") == len([path for path, _ in named if path.startswith("tests/")])
    assert text.count("quart_app/") == len([path for path, _ in named if path[0] == "q"])
    for path, test in named + linked:
        assert (ROOT / path).is_file(), path
        assert not test or test in functions_in(ROOT / path), f"{path}::{test}"


def test_every_heading_linked_from_the_security_page_exists() -> None:
    for page, heading in re.findall(r"\]\(([\w.-]*)#([\w-]+)\)", SECURITY.read_text()):
        headings = re.findall("(?m)^#+ (.+)$", (SECURITY.parent / (page or SECURITY)).read_text())
        anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        assert heading in anchors, f"{page}#{heading}"


# --- commands ----------------------------------------------------------------------------------

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Programs that documents call; ours are in .venv/bin, because that is not on the PATH.
SYSTEM_PROGRAMS = {"python3", "mkdir", "umask"}
OUR_PROGRAMS = {
    "alembic",
    "hypercorn",
    "pip",
    "pytest",
    "python",
    "quart-app",
    "ruff",
    "mypy",
    "uv",
}


def commands_in(text: str) -> list[list[str]]:
    """Return the words of each command in a code block or a code span of a document."""
    text = re.sub(r"(?s)```.*?```", "", text)  # programs, configurations and pictures
    blocks = re.findall(r"(?m)^    (?:\$ )?(\S.*(?:\\\n.*)*)$", text)
    spans = [" ".join(span.split()) for span in re.findall("`([^`]+)`", text)]
    commands = []
    for code in [*blocks, *spans]:
        for part in re.split(r"&&|[|;()]", code.replace("\\\n", " ")):
            words = re.sub(r"^sudo -u \S+ ", "", part.partition(" #")[0].strip()).split()
            if words and (
                words[0].startswith(("scripts/", ".ci/", ".venv/"))
                or words[0] in OUR_PROGRAMS | SYSTEM_PROGRAMS
            ):
                commands.append(words)
    return commands


def test_every_program_called_in_a_document_exists() -> None:
    found = [(path.name, words) for path in DOCUMENTS for words in commands_in(path.read_text())]
    assert len(found) > 40
    for document, words in found:
        program = words[0]
        if program in SYSTEM_PROGRAMS or (program in OUR_PROGRAMS and len(words) == 1):
            continue  # a name alone is a word of a sentence
        assert program not in OUR_PROGRAMS, f"{document}: {' '.join(words)}"
        path = ROOT / program
        if program.startswith(".venv/bin/"):
            path = Path(sys.executable).with_name(Path(program).name)
        assert path.exists(), f"{document}: {program}"
        if len(words) > 1 or path.suffix == "":
            assert path.is_dir() or os.access(path, os.X_OK), f"{document}: {program}"


def test_every_administration_command_named_in_a_document_exists() -> None:
    administration = [
        (path.name, words[3:])
        for path in DOCUMENTS
        for words in commands_in(path.read_text())
        if words[1:3] == ["-m", "quart_app"]
    ]
    assert len(administration) > 15
    for document, words in administration:
        command: click.Command = cli
        for word in words:
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, f"{document}: {' '.join(words)}"
            command = command.commands[word]
        options = {name for each in command.params for name in each.opts}
        given = {word.strip("[]") for word in words if word.lstrip("[").startswith("--")}
        assert given <= options, f"{document}: {' '.join(words)}"
