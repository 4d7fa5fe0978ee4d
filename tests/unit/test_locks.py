"""Advisory locks: each number has one meaning and one definition."""

import ast
import re
from pathlib import Path

from quart_app.session import table
from quart_app.storage import locks
from quart_app.storage.locks import AdvisoryLock

PACKAGE = Path(locks.__file__).parent.parent
# The session library has its own, because it imports nothing else of this package.
LIBRARY = Path(table.__file__)
# Lock numbers of released versions, whose processes must still exclude each other.
RELEASED_NUMBERS = {"UPGRADE_SCHEMA": 201, "REVOCATIONS": 202, "CHANGES": 203}


def test_every_lock_has_a_number_of_its_own() -> None:
    assert len(AdvisoryLock.__members__) == len(set(AdvisoryLock))
    assert all(0 < lock < 2**63 for lock in AdvisoryLock)


def test_older_processes_take_the_same_locks() -> None:
    for name, end in RELEASED_NUMBERS.items():
        assert AdvisoryLock[name] == 7225838017654000 + end


def test_the_session_library_takes_only_the_lock_of_revocations() -> None:
    assert int(AdvisoryLock.REVOCATIONS) == table.COMMIT_ORDER_LOCK
    assert table.CREATE_TABLE_LOCK not in set(AdvisoryLock)


def test_no_other_module_contains_a_lock_number() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path in {Path(locks.__file__), LIBRARY}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, int):
                assert abs(node.value) < 2**40, f"{path}:{node.lineno}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"advisory\w*_lock\w*\(", node.value), f"{path}:{node.lineno}"
