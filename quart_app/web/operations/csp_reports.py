"""Reports of browsers about violations of our pages' Content-Security-Policy.

Anybody can send such a report, and one page can make a browser send many. Violations of the same
kind are counted together, in bounded memory, and written to the log once a minute.
"""

import asyncio
import json
import logging
from collections import Counter
from http import HTTPStatus
from typing import Annotated, Final, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, FailFast, Field, TypeAdapter, ValidationError
from quart import Blueprint, current_app, request
from quart.typing import ResponseReturnValue

from quart_app.session import answers_when_stale
from quart_app.web.pipeline.access import public
from quart_app.web.pipeline.headers import CSP_REPORTS_PATH
from quart_app.web.pipeline.json_views import Contract, keeps
from quart_app.web.pipeline.request_errors import MalformedBody, UnsupportedBody

MOST_COUNTED: Final = 50  # kinds of violations in a minute; all others count as one kind
MOST_REPORTS: Final = 100  # in one request; browsers send a handful
_FLUSH_AFTER_SECONDS: Final = 60.0
_LONGEST: Final = 200  # characters of an address that are logged
_EXTENSION: Final = "quart_app.csp_violations"

blueprint = Blueprint("csp_reports", __name__)
log = logging.getLogger("quart_app.csp")


class Violation(NamedTuple):
    """The kind of a violation: reports with equal fields are counted together.

    Addresses have no query, because it may hold a token, and there are no samples. An address of
    another site is only its origin; `page` and `source` are paths of ours.
    """

    directive: str
    blocked: str
    page: str
    source: str


_OTHERS: Final = Violation("others", "", "", "")


class Violations:
    """Counts of violations, until they are written to the log."""

    def __init__(self) -> None:
        self._counts: Counter[Violation] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count(self, violation: Violation) -> None:
        """Count a violation; a new kind beyond the bound counts as "others"."""
        if violation not in self._counts and len(self._counts) >= MOST_COUNTED:
            violation = _OTHERS
        self._counts[violation] += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_FLUSH_AFTER_SECONDS, self.flush)

    def flush(self) -> None:
        """Write one line of JSON for each kind to the log, and start again at zero."""
        if self._timer is not None:
            self._timer.cancel()
        counts, self._counts, self._timer = self._counts, Counter(), None
        for violation, number in counts.items():
            said = {"event": "csp_violation", **violation._asdict(), "count": number}
            log.warning("%s", json.dumps(said).replace("\x7f", "\\u007f"))


class _Report(BaseModel):
    """The fields of both formats: CSP level 3, section 5.3, and CSP level 2, section 4.4."""

    directive: str = Field(
        "", validation_alias=AliasChoices("effectiveDirective", "effective-directive")
    )
    violated: str = Field("", validation_alias="violated-directive")  # of older browsers
    blocked: str | None = Field(None, validation_alias=AliasChoices("blockedURL", "blocked-uri"))
    page: str | None = Field(None, validation_alias=AliasChoices("documentURL", "document-uri"))
    source: str | None = Field(None, validation_alias=AliasChoices("sourceFile", "source-file"))


class _ByReportUri(BaseModel):
    report: _Report = Field(validation_alias="csp-report")


class _ByReportingApi(BaseModel):
    type: str
    body: _Report | None = None


_BY_REPORT_URI: Final = TypeAdapter(_ByReportUri)
# Stops at the first error: anybody can send this, and each error would cost time.
_BY_REPORTING_API: Final = TypeAdapter(
    Annotated[list[_ByReportingApi], Field(max_length=MOST_REPORTS), FailFast()]
)


@blueprint.before_app_serving
async def begin() -> None:
    """Create the counts."""
    current_app.extensions[_EXTENSION] = Violations()


@blueprint.after_app_serving
async def end() -> None:
    """Write the remaining counts to the log."""
    violations().flush()


def violations() -> Violations:
    """Return the counts."""
    return cast(Violations, current_app.extensions[_EXTENSION])


@blueprint.post(CSP_REPORTS_PATH)
@public
@answers_when_stale
@keeps(Contract(status=HTTPStatus.NO_CONTENT, errors=(MalformedBody, UnsupportedBody)))
async def take() -> ResponseReturnValue:
    """Count the violations that a browser reports."""
    for report in _reports(request.mimetype, await request.get_data()):
        violations().count(
            Violation(
                (report.directive or report.violated.partition(" ")[0])[:_LONGEST],
                _in_short(report.blocked),
                _in_short(report.page),
                _in_short(report.source),
            )
        )
    return "", HTTPStatus.NO_CONTENT


def _reports(kind: str, body: str | bytes) -> list[_Report]:
    """Return the reports that a body holds. Raises UnsupportedBody, MalformedBody."""
    try:
        if kind == "application/csp-report":
            return [_BY_REPORT_URI.validate_json(body).report]
        if kind == "application/reports+json":
            sent = _BY_REPORTING_API.validate_json(body)
            return [each.body for each in sent if each.type == "csp-violation" and each.body]
    except ValidationError:
        raise MalformedBody("The body is not a CSP report in a browser's format.") from None
    raise UnsupportedBody("Send application/reports+json or application/csp-report.")


def _in_short(address: str | None) -> str:
    """Return the path of our address, the origin of another, or a word that is no address."""
    try:
        url = urlsplit(address or "")
    except ValueError:
        return ""
    if not url.netloc:
        return (url.scheme or url.path)[:_LONGEST]  # such as data:… or inline
    host = url.netloc.rpartition("@")[2]
    return (url.path if host == request.host else f"{url.scheme}://{host}")[:_LONGEST]
