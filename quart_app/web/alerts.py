"""What a user answers to what they are told of: it was me, or this wasn't me."""

from quart import Blueprint, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import NotLoggedIn
from quart_app.services.sessions import Continued
from quart_app.web.accounts import begin, with_cleared_cache
from quart_app.web.bodies import AlertsForm, NoBody, read_form
from quart_app.web.gate import current_login, device, presented, services
from quart_app.web.pages import go_on, local_path

blueprint = Blueprint("alerts", __name__, url_prefix="/account")


@blueprint.post("/it_was_me")
async def answer() -> ResponseReturnValue:
    """Tell no more, on this device, of what the page told."""
    form = await read_form(AlertsForm)
    login = current_login()
    await services().alerts.answer(login.user_id, login.sid, up_to=form.up_to)
    return go_on(local_path(form.next) or url_for("platforms.dashboard"), notice="answered")


@blueprint.post("/not_me")
async def disown() -> ResponseReturnValue:
    """End every session at once, go on here in a new one, and ask for a new password."""
    await read_form(NoBody)
    login, asked_by = current_login(), presented()
    if asked_by is None:
        raise NotLoggedIn
    new_session = await services().alerts.disown(
        login.user_id,
        asked_by=asked_by,
        continued=Continued(
            created_at=login.created_at,
            expires_at=login.expires_at,
            remember=login.remember,
        ),
        platform_connection_id=login.platform_connection_id,
        device=device(),
    )
    begin(new_session)
    return with_cleared_cache(go_on(f"{url_for('accounts.account')}#change", notice="disowned"))
