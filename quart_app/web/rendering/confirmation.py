"""Confirmation before sessions end or users change: a page, with a password if needed."""

from http import HTTPStatus

from quart import Response

from quart_app.errors import AppError
from quart_app.web.pipeline.bodies import Body, read_form
from quart_app.web.pipeline.fields import Password
from quart_app.web.pipeline.gate import caller, services
from quart_app.web.rendering.error_responses import status_of
from quart_app.web.rendering.pages import page


class ConfirmBody(Body):
    """The password again, if the login is not fresh enough."""

    may_be_absent = True
    current_password: Password | None = None


async def typed_password() -> str | None:
    """Return the password of a confirmation form; None if the field is empty or absent.

    Raises InvalidInput.
    """
    return (await read_form(ConfirmBody)).current_password


async def confirm_page(template: str, error: AppError | None, **values: object) -> Response:
    """Return a confirmation page, which asks for the password if the login is not fresh."""
    return await page(
        template,
        status=status_of(error) if error else HTTPStatus.OK,
        is_password_needed=services().reauthentication.is_password_needed(caller()),
        error=error,
        **values,
    )
