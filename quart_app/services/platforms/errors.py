"""Errors of connecting accounts, and of checking them."""

from quart_app.errors import AppError, Category


class TooManyRegistrations(AppError):  # noqa: N818
    """This application has registered at a server as often as it may for now."""

    category = Category.TOO_MANY
    code = "too_many_registrations"
    default_sentence = "Too many accounts are being connected at this server."


class TooManyAuthorizations(AppError):  # noqa: N818
    """This user has begun to connect accounts as often as they may for now."""

    category = Category.TOO_MANY
    code = "too_many_authorizations"
    default_sentence = "You have started to connect too many accounts."
    heading = "Too many attempts"


class TooManyOutbound(AppError):  # noqa: N818
    """This user has let other servers be asked as often as they may for now."""

    category = Category.TOO_MANY
    code = "too_many_server_requests"
    default_sentence = "You have checked or connected too many accounts."
    heading = "Too many attempts"


class AuthorizationInvalid(AppError):  # noqa: N818
    """No authorization of this user and browser is waiting for this answer."""

    category = Category.GONE
    code = "authorization_invalid"
    default_sentence = "This attempt has expired, or another browser started it. Start again."
    heading = "The account was not connected"


class AuthorizationDenied(AppError):  # noqa: N818
    """The user, or the server, refused the authorization."""

    category = Category.CONFLICT
    code = "authorization_denied"
    default_sentence = "The server did not authorize access, so no account was connected."
    heading = "The account was not connected"


class CredentialsLost(AppError):  # noqa: N818
    """No key opens the stored access token of a connection."""

    category = Category.CONFLICT
    code = "credentials_lost"
    default_sentence = "The stored access token can't be decrypted. Reconnect this account."


class OtherAccountAuthorized(AppError):  # noqa: N818
    """An account was to be reconnected, but another one was authorized at the server."""

    category = Category.CONFLICT
    code = "other_account_authorized"
    default_sentence = (
        "You authorized another account than the one to reconnect. Log in to the right account on"
        " the server, and start again."
    )
    heading = "The account was not reconnected"
