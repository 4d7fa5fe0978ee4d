"""Health checks for operators: whether the process is alive, and ready to answer."""

from http import HTTPStatus
from typing import Literal

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_app.session import answers_when_stale
from quart_app.web.pipeline.access import no_page, public
from quart_app.web.pipeline.deployment_notes import deployment_notes
from quart_app.web.pipeline.gate import services
from quart_app.web.pipeline.json_views import Answer, Contract, json_view, keeps

blueprint = Blueprint("operations", __name__)


class Alive(Answer):
    """The process runs."""

    status: Literal["alive"] = "alive"


class Ready(Answer):
    """Requests can be answered."""

    status: Literal["ready"] = "ready"


class ReadyWithNotes(Ready):
    """Requests can be answered, but settings don't fit how the application is deployed."""

    notes: list[str]


class NotReady(Answer):
    """Requests can't be answered, with one sentence for each reason."""

    status: Literal["not ready"] = "not ready"
    reasons: list[str]


@blueprint.get("/healthz")
@public
@no_page
@answers_when_stale
@json_view(Alive)
async def healthz() -> Alive:
    """Tell that the process is alive."""
    return Alive()


@blueprint.get("/readyz")
@public
@no_page
@answers_when_stale
@keeps(Contract(answer=Ready | ReadyWithNotes, others={HTTPStatus.SERVICE_UNAVAILABLE: NotReady}))
async def readyz() -> ResponseReturnValue:
    """Return whether requests can be answered, with the reasons if not, and notes on settings."""
    reasons = await services().readiness.reasons_not_ready()
    if reasons:
        return NotReady(reasons=reasons).model_dump(), HTTPStatus.SERVICE_UNAVAILABLE
    if notes := deployment_notes().notes:
        return ReadyWithNotes(notes=notes).model_dump()
    return Ready().model_dump()
