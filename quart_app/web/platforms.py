"""Pages of platform connections: the dashboard with its switcher, list, connect, remove."""

from http import HTTPStatus

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, NotFound, Unavailable
from quart_app.model import PlatformType
from quart_app.web.bodies import (
    ConnectBody,
    PlatformsQuery,
    RenameForm,
    ReturnForm,
    read_form,
    read_query,
)
from quart_app.web.gate import ID, current_login, services
from quart_app.web.notices import CURRENT
from quart_app.web.pages import go_on, page, page_at
from quart_app.web.replies import status_of, with_form_page
from quart_app.web.session import switch_platform

blueprint = Blueprint("platforms", __name__)


@blueprint.get("/")
async def dashboard() -> ResponseReturnValue:
    """Show for which platform connection the session acts, and offer the others.

    All of it is in the frame.
    """
    return await page("dashboard.html")


@blueprint.get("/platforms")
async def list_page() -> ResponseReturnValue:
    """Show every connection, and the form that adds one."""
    return await _list_page()


async def _list_page(error: AppError | None = None) -> Response:
    query = read_query(PlatformsQuery)
    found = await services().platforms.found(
        current_login().user_id, after=query.after or "", sought=query.sought or ""
    )
    typed = await request.form if request.method == "POST" else {}
    return await page(
        "platforms.html",
        status=status_of(error) if error else HTTPStatus.OK,
        found=found,
        sought=query.sought or "",
        is_first=not query.after,
        typed={
            name: typed.get(name, "")
            for name in ("name", "platform_type", "instance_url", "username")
        },
        error=error,
    )


@blueprint.post("/platforms")
@with_form_page(_list_page)
async def connect() -> ResponseReturnValue:
    """Keep a new connection; the session acts for it where it acted for none."""
    try:
        form = await read_form(ConnectBody)
        connection, _ = await services().platforms.connect(
            current_login().user_id,
            name=form.name,
            platform_type=PlatformType(form.platform_type),
            instance_url=form.instance_url,
            access_token=form.access_token,
            username=form.username,
        )
    except NotFound:
        raise
    except AppError as error:
        return await _list_page(error)
    if current_login().platform_connection_id is None:
        switch_platform(connection.id)
    return go_on(url_for("platforms.list_page"), notice="The platform connection is added.")


@blueprint.post(f"/platforms/<{ID}:connection_id>/switch")
async def switch(connection_id: int) -> ResponseReturnValue:
    """Act for this connection from now on, and stay on the page."""
    form = await read_form(ReturnForm)
    connection = await services().platforms.switch(
        current_login().user_id, connection_id, sid=current_login().sid
    )
    switch_platform(connection.id)
    return _back(form, notice=f"Now acting as {CURRENT}")


@blueprint.post(f"/platforms/<{ID}:connection_id>/default")
async def make_default(connection_id: int) -> ResponseReturnValue:
    """Let sessions begin with this connection."""
    form = await read_form(ReturnForm)
    await services().platforms.make_default(current_login().user_id, connection_id)
    return _back(form, notice="New sessions begin with this platform connection.")


@blueprint.post(f"/platforms/<{ID}:connection_id>/activate")
async def activate(connection_id: int) -> ResponseReturnValue:
    """Switch a connection on that was switched off."""
    form = await read_form(ReturnForm)
    await services().platforms.change(current_login().user_id, connection_id, is_active=True)
    return _back(form, notice="The platform connection is changed.")


@blueprint.post(f"/platforms/<{ID}:connection_id>/deactivate")
async def deactivate(connection_id: int) -> ResponseReturnValue:
    """Switch a connection off; it is kept, and nothing new acts for it."""
    form = await read_form(ReturnForm)
    await services().platforms.change(current_login().user_id, connection_id, is_active=False)
    return _back(form, notice="The platform connection is changed.")


@blueprint.get(f"/platforms/<{ID}:connection_id>/rename")
async def rename_page(connection_id: int) -> ResponseReturnValue:
    """Show the form that gives it another name."""
    return await _rename_page(connection_id)


async def _rename_page(connection_id: int, error: AppError | None = None) -> Response:
    connection, _ = await services().platforms.connection(current_login().user_id, connection_id)
    typed = (await request.form).get("name") if error else None
    return await page(
        "rename.html",
        status=status_of(error) if error else HTTPStatus.OK,
        connection=connection,
        name=connection.name if typed is None else typed,
        error=error,
    )


@blueprint.post(f"/platforms/<{ID}:connection_id>/rename")
@with_form_page(_rename_page)
async def rename(connection_id: int) -> ResponseReturnValue:
    """Give it another name."""
    try:
        form = await read_form(RenameForm)
        await services().platforms.change(current_login().user_id, connection_id, name=form.name)
    except (NotFound, Unavailable):
        raise
    except AppError as error:
        return await _rename_page(connection_id, error)
    return go_on(url_for("platforms.list_page"), notice="The platform connection is changed.")


@blueprint.get(f"/platforms/<{ID}:connection_id>/remove")
async def remove_page(connection_id: int) -> ResponseReturnValue:
    """Ask whether to remove it."""
    return await _remove_page(connection_id)


async def _remove_page(connection_id: int, error: AppError | None = None) -> Response:
    connection, is_default = await services().platforms.connection(
        current_login().user_id, connection_id
    )
    return await page(
        "remove.html",
        status=status_of(error) if error else HTTPStatus.OK,
        connection=connection,
        is_default=is_default,
        error=error,
    )


@blueprint.post(f"/platforms/<{ID}:connection_id>/remove")
@with_form_page(_remove_page)
async def remove(connection_id: int) -> ResponseReturnValue:
    """Delete the connection; a session that acted for it acts for none."""
    form = await read_form(ReturnForm)
    await services().platforms.remove(current_login().user_id, connection_id)
    forget_if_active(connection_id)
    return _back(form, notice="The platform connection is removed.")


def forget_if_active(connection_id: int) -> None:
    """Let this session act for none where it acted for a connection that is gone."""
    if current_login().platform_connection_id == connection_id:
        switch_platform(None)


def _back(form: ReturnForm, *, notice: str) -> ResponseReturnValue:
    return go_on(page_at(form.next) or url_for("platforms.list_page"), notice=notice)
