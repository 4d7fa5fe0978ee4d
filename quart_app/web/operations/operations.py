"""Health checks for operators: whether the process is alive, and ready to answer."""

from http import HTTPStatus

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_app.session import answers_when_stale
from quart_app.web.pipeline.access import no_page, public
from quart_app.web.pipeline.gate import services

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
@public
@no_page
@answers_when_stale
async def healthz() -> ResponseReturnValue:
    """Tell that the process is alive."""
    return {"status": "alive"}


@blueprint.get("/readyz")
@public
@no_page
@answers_when_stale
async def readyz() -> ResponseReturnValue:
    """Return whether requests can be answered, with the reasons if not."""
    reasons = await services().readiness.reasons_not_ready()
    if reasons:
        return {"status": "not ready", "reasons": reasons}, HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": "ready"}
