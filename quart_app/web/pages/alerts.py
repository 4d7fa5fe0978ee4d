"""Pages that answer an alert: it was me, or this wasn't me."""

from quart import Blueprint, url_for
from quart.typing import ResponseReturnValue

from quart_app.web.pipeline.bodies import NoBody, read_form
from quart_app.web.pipeline.fields import BigId
from quart_app.web.pipeline.gate import caller, services
from quart_app.web.rendering.leaving import leave_for_login_page
from quart_app.web.rendering.local_paths import ReturnForm, safe_local_path
from quart_app.web.rendering.pages import page, redirect_to

blueprint = Blueprint("alerts", __name__, url_prefix="/account")


class AlertsForm(ReturnForm):
    """The answer to the alerts that a page showed; `up_to` is the newest of them."""

    up_to: BigId


@blueprint.post("/it_was_me")
async def answer() -> ResponseReturnValue:
    """Close the alerts that the page showed. One about the password closes on this device only."""
    form = await read_form(AlertsForm)
    await services().alerts.answer(caller(), up_to=form.up_to)
    return redirect_to(
        safe_local_path(form.next) or url_for("platforms.dashboard"),
        notice="Thank you. This device no longer shows this alert.",
    )


@blueprint.get("/not_me")
async def disown_page() -> ResponseReturnValue:
    """Ask whether to end every session, and explain the consequences."""
    return await page("disown.html", is_password_needed=False, error=None)


@blueprint.post("/not_me")
async def disown() -> ResponseReturnValue:
    """End every session at once, this one, too. After the next login, ask for a new password."""
    await read_form(NoBody)
    await services().alerts.disown(caller())
    return leave_for_login_page(
        "All your sessions have ended. Log in again and choose a new password.",
        next_path=f"{url_for('accounts.account')}#change",
    )
