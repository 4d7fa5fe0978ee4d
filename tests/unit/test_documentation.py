"""docs/http.md names every route and every code that there is, and no other."""

import re

from quart_app import errors
from quart_app.app import create_app
from quart_app.settings import Settings
from quart_app.web.replies import _STATUS
from tests.conftest import ENCRYPTION_KEY, SECRET_KEY
from tests.servers import ROOT

PAGE = (ROOT / "docs/http.md").read_text()
# Of the framework's own refusals, which have no class.
OF_THE_FRAMEWORK = {"bad_request", "method_not_allowed", "request_timeout", "internal_server_error"}


def test_every_json_route_is_described() -> None:
    app = create_app(Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,)))
    routes = {
        (method, re.sub("<.*?>", "<id>", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") or rule.endpoint.startswith("operations.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(re.findall(r"`(GET|POST|PATCH|DELETE) (/\S+)`", PAGE))


def test_every_code_is_described_with_its_status() -> None:
    described = {
        (int(status), code)
        for status, codes in re.findall(r"(?m)^\| (\d{3}) \| (.*) \|$", PAGE)
        for code in re.findall("`([a-z_]+)`", codes)
    }
    of_pages_only = {errors.SetUpAlready}
    ours = {
        (int(status), kind.code) for kind, status in _STATUS.items() if kind not in of_pages_only
    }
    assert {code for code in described if code[1] not in OF_THE_FRAMEWORK} == ours
