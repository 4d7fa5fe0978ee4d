"""The examples of docs/http-examples.md work as they are written, and there is one of each call."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.app import create_app
from quart_app.web.api.openapi import description_of
from tests.conftest import PASSWORD, settings_for
from tests.servers import ROOT, hypercorn

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])

PAGE = (ROOT / "docs/http-examples.md").read_text()


@pytest.mark.usefixtures("member")
def test_the_examples_work_one_after_the_other(database_url: URL, tmp_path: Path) -> None:
    script = "set -eu\n" + "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
    assert script.count("curl") > 20
    with hypercorn(settings_for(database_url), tmp_path) as server:
        ended = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "SITE": server.url, "PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_call_has_an_example(database_url: URL) -> None:
    calls = re.findall(r"curl[^\n]*", PAGE)
    for path, operations in description_of(create_app(settings_for(database_url)))["paths"].items():
        address = re.sub(r"\{\w+\}", "([$]ID|1)", path)
        for method in operations:
            of_path = [call for call in calls if re.search(rf"SITE{address}\"", call)]
            wanted = "-X DELETE" if method == "delete" else "-X PATCH" if method == "patch" else ""
            assert any(wanted in call for call in of_path), (method, path)
