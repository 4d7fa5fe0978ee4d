"""The page where an administrator creates a reset link for a user."""

from quart import Blueprint, Response
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, UserInactive
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.identity.reset_tokens import RESET_LINK_LIFETIME
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.confirmation import confirm_page, typed_password
from quart_app.web.rendering.error_responses import shows_form_again
from quart_app.web.rendering.pages import page

blueprint = Blueprint("admin_reset_links", __name__, url_prefix="/admin/users")


@blueprint.get(f"/<{ID}:user_id>/reset_link")
async def make_page(user_id: int) -> ResponseReturnValue:
    """Ask whether to create a reset link for a user."""
    return await _make_page(user_id)


async def _make_page(user_id: int, error: AppError | None = None) -> Response:
    user, _ = await services().users.get(caller(), UserRef.by_id(user_id))
    if not user.is_active:
        raise UserInactive
    return await confirm_page(
        "admin_make_reset_link.html", error, user=user, lifetime=RESET_LINK_LIFETIME
    )


@blueprint.post(f"/<{ID}:user_id>/reset_link")
@shows_form_again(_make_page)
async def make(user_id: int) -> ResponseReturnValue:
    """Create the reset link and show it only once: the database does not contain it."""
    link = await services().user_passwords.make_reset_link(
        caller(), UserRef.by_id(user_id), current_password=await typed_password()
    )
    return await page("admin_reset_link.html", link=link, is_new=False)
