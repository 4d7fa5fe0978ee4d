"""Rules that import contracts cannot express: words and calls that modules must not contain."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from quart_app.model import Base
from quart_app.services import Services
from tests.servers import ROOT

PACKAGE = ROOT / "quart_app"
MODULES = sorted(PACKAGE.rglob("*.py"))
SERVICE_MODULES = [
    path
    for path in MODULES
    if path.is_relative_to(PACKAGE / "services") and "steps" not in path.parts
]
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


def names_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(attr=name) | ast.alias(name=name) | ast.Name(id=name):
                yield name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case _:
                pass


def test_the_modules_are_found() -> None:
    assert PACKAGE / "services/identity/accounts.py" in MODULES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_settings_reads_the_environment_and_no_name_is_user_session(path: Path) -> None:
    names = set(names_in(path))
    assert not {name for name in names if "UserSession" in name}
    if path == PACKAGE / "settings/sources.py":
        assert names & ENVIRONMENT
    elif path.parent != PACKAGE / "settings":
        assert not names & ENVIRONMENT


def test_no_table_of_ours_is_the_legacy_session_table() -> None:
    assert "user_sessions" not in Base.metadata.tables


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"2 ?\*\* ?31|2_?147_?483_?64", "model/types.py"),  # the largest user id
        (r"2 ?\*\* ?63|9_?223_?372_?036", "session/claims.py"),  # the largest id of other rows
        (r"(?m)^(SHORTEST|LONGEST)\b[^=\n]*= \d", "services/identity/passwords.py"),
        (r"(?m)^LARGEST_BODY_BYTES\b[^=\n]*= \d", "web/pipeline/gate.py"),
        (r"\"(moderator|reviewer|viewer)\"", "model/users.py"),
        (r"CLOCK_TOLERANCE\b[^=\n]*= timedelta", "session/claims.py"),
        (r"A-Za-z0-9_-\]\{", "session/claims.py"),  # the form of a session id
    ],
)
def test_a_shared_number_is_defined_in_one_module(pattern: str, home: str) -> None:
    found = {
        str(path.relative_to(PACKAGE)) for path in MODULES if re.search(pattern, path.read_text())
    }
    assert found == {home}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_terminal_module_writes_to_standard_streams(path: Path) -> None:
    """Untrusted text could control the terminal; ruff's T20 and banned-api check this, too."""
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    if path != PACKAGE / "terminal.py":
        assert not calls & {
            *("print", "click.echo", "click.secho", "echo", "warnings.warn", "os.write"),
            *("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write"),
        }


RESET_LINKS = re.compile(
    r"reset[_ -]?links?\b|ResetLink|reset_token|reset_expires|password_reset\b|\bPASSWORD_RESET",
    re.IGNORECASE,
)


AUTHORIZATIONS = re.compile(
    r"authorizations|PlatformAuthorization|Authorization(Results|Invalid|Denied)|AuthorizedAccount"
    r"|authorization_results|authorized_accounts|remember_authorization|AppRegistration"
    r"|platform_apps|AttemptPurges|attempt_purges|TooManyAuthorizations|TooManyRegistrations"
)


@pytest.mark.parametrize(
    ("feature", "begin", "end"),
    [
        (RESET_LINKS, "Reset links are an example", "The first five rows"),
        (AUTHORIZATIONS, "by authorization is a larger example", "Its requests to servers"),
    ],
    ids=["reset links", "authorizations"],
)
def test_the_architecture_page_lists_every_file_that_names_an_example_feature(
    feature: re.Pattern[str], begin: str, end: str
) -> None:
    """A new central list that each feature has to edit would show here."""
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.partition(begin)[2].partition(end)[0]
    listed = re.findall(r"`([a-z_0-9/]+\.(?:py|html))`", section)
    named = {
        str(path.relative_to(PACKAGE))
        for path in [*MODULES, *PACKAGE.rglob("*.html")]
        if feature.search(_without_docstring(path.read_text()))
    }
    assert sorted(listed) == sorted(named)


def _without_docstring(text: str) -> str:
    """Return a module without its first docstring, which may list what its package contains."""
    return re.sub(r'\A""".*?"""', "", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    "subject", get_type_hints(Services).values(), ids=lambda each: each.__name__
)
def test_a_public_method_of_a_service_takes_no_open_transaction(subject: type) -> None:
    methods = dict(inspect.getmembers(subject, inspect.isfunction))
    public = {name: method for name, method in methods.items() if not name.startswith("_")}
    assert public
    for name, method in public.items():
        assert "AsyncSession" not in str(inspect.signature(method)), name


def public_functions_in(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    module = ast.parse(path.read_text())
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    for node in [*module.body, *(each for owner in classes for each in owner.body)]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
            "_"
        ):
            yield node


@pytest.mark.parametrize("path", SERVICE_MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_steps_take_an_open_transaction(path: Path) -> None:
    taking = [
        function.name
        for function in public_functions_in(path)
        if "AsyncSession" in ast.unparse(function.args)
    ]
    assert taking == []


@pytest.mark.parametrize("path", SERVICE_MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_more_than_four_dependencies_are_given_by_keyword(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name, decorator_list=[*_, ast.Call() as decorator]):
                fields = [
                    each
                    for each in node.body
                    if isinstance(each, ast.AnnAssign) and "init=False" not in ast.unparse(each)
                ]
                is_by_keyword = "kw_only=True" in ast.unparse(decorator)
                assert len(fields) <= 4 or is_by_keyword, name
            case ast.FunctionDef(name="__init__", args=ast.arguments(args=[_, *parameters])):
                assert len(parameters) <= 4, ast.unparse(node.args)
            case _:
                pass
