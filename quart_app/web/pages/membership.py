"""Pages for administrators: create, deactivate and activate users, change their role."""

from functools import partial

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError
from quart_app.model import Role
from quart_app.services.administration.user_ref import UserRef
from quart_app.web.pipeline.bodies import read_form
from quart_app.web.pipeline.fields import Email, LoginName
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.confirmation import ConfirmBody, confirm_page, typed_password
from quart_app.web.rendering.error_responses import shows_form_again
from quart_app.web.rendering.leaving import leave_for_login_page
from quart_app.web.rendering.pages import page, redirect_to

blueprint = Blueprint("membership", __name__, url_prefix="/admin/users")

_ROLES = [role.value for role in Role]


class NewUserForm(ConfirmBody):
    """A user whom an administrator creates."""

    may_be_absent = False
    username: LoginName
    email: Email
    role: Role = Role.VIEWER


class RoleForm(ConfirmBody):
    """Another role for a user."""

    may_be_absent = False
    role: Role


@blueprint.get("/new")
async def create_page() -> ResponseReturnValue:
    """Show the form that creates a user."""
    return await _create_page()


async def _create_page(error: AppError | None = None) -> Response:
    await services().authorization.check(caller())
    form = await request.form
    return await confirm_page(
        "admin_create_user.html",
        error,
        typed={name: form.get(name, "") for name in ("username", "email")},
        role=form.get("role", Role.VIEWER.value),
        roles=_ROLES,
    )


@blueprint.post("/new")
@shows_form_again(_create_page)
async def create() -> ResponseReturnValue:
    """Create a user, and show only once the link that lets them set a password."""
    form = await read_form(NewUserForm)
    link = await services().users.create_with_link(
        caller(),
        username=form.username,
        email=form.email,
        role=form.role,
        current_password=form.current_password,
    )
    return await page("admin_reset_link.html", link=link, is_new=True)


async def _about(user_id: int, *, template: str, error: AppError | None = None) -> Response:
    """Return a page that asks before it changes something about a user."""
    user, logins = await services().users.get(caller(), UserRef.by_id(user_id))
    return await confirm_page(
        template,
        error,
        user=user,
        number=len(logins),
        is_current=user_id == caller().user_id,
        role=(await request.form).get("role", user.role.value),
        roles=_ROLES,
    )


@blueprint.get(f"/<{ID}:user_id>/deactivate")
async def deactivate_page(user_id: int) -> ResponseReturnValue:
    """Ask whether to deactivate a user."""
    return await _about(user_id, template="admin_deactivate_user.html")


@blueprint.post(f"/<{ID}:user_id>/deactivate")
@shows_form_again(partial(_about, template="admin_deactivate_user.html"))
async def deactivate(user_id: int) -> ResponseReturnValue:
    """Deactivate a user."""
    await services().users.deactivate(
        caller(), UserRef.by_id(user_id), current_password=await typed_password()
    )
    if user_id == caller().user_id:
        return leave_for_login_page("You are deactivated and logged out.")
    return _back_to(user_id, "This user is deactivated, and all their sessions have ended.")


@blueprint.get(f"/<{ID}:user_id>/activate")
async def activate_page(user_id: int) -> ResponseReturnValue:
    """Ask whether to let a user in again."""
    return await _about(user_id, template="admin_activate_user.html")


@blueprint.post(f"/<{ID}:user_id>/activate")
@shows_form_again(partial(_about, template="admin_activate_user.html"))
async def activate(user_id: int) -> ResponseReturnValue:
    """Let a user in again."""
    await services().users.activate(
        caller(), UserRef.by_id(user_id), current_password=await typed_password()
    )
    return _back_to(user_id, "This user is active and can log in again.")


@blueprint.get(f"/<{ID}:user_id>/role")
async def role_page(user_id: int) -> ResponseReturnValue:
    """Ask which role a user is to have."""
    return await _about(user_id, template="admin_role.html")


@blueprint.post(f"/<{ID}:user_id>/role")
@shows_form_again(partial(_about, template="admin_role.html"))
async def change_role(user_id: int) -> ResponseReturnValue:
    """Give a user another role."""
    form = await read_form(RoleForm)
    await services().users.change_role(
        caller(), UserRef.by_id(user_id), form.role, current_password=form.current_password
    )
    if user_id == caller().user_id and form.role is not Role.ADMIN:
        return redirect_to(
            url_for("platforms.dashboard"),
            notice="Your role has changed. You are no longer an administrator.",
        )
    return _back_to(user_id, "The role has changed. It applies at once.")


def _back_to(user_id: int, notice: str) -> ResponseReturnValue:
    return redirect_to(url_for("admin.user_page", user_id=user_id), notice=notice)
