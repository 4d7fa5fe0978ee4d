"""Errors of the HTTP request itself. No use case raises them."""

from quart_app.errors import AppError, Category


class MalformedBody(AppError):  # noqa: N818 named for the fact, as in quart_app.errors
    """The body can't be parsed as the type that the request declares."""

    category = Category.MALFORMED
    code = "malformed_body"
    default_sentence = "The body is not well-formed JSON."


class TooManyCookies(AppError):  # noqa: N818
    """The request has more session cookies than the application reads."""

    category = Category.MALFORMED
    code = "too_many_cookies"
    default_sentence = (
        "Your browser sends too many cookies of the same name."
        " Delete the cookies of this site and log in again."
    )


class UnsupportedBody(AppError):  # noqa: N818
    """This address does not accept bodies of this type."""

    category = Category.UNSUPPORTED
    code = "unsupported_body"
    default_sentence = "Send the body as application/json."


class BodyTooLarge(AppError):  # noqa: N818
    """The body is longer than the limit for all requests."""

    category = Category.TOO_LARGE
    code = "body_too_large"
    default_sentence = "The request is too large. Send less data."


class CrossSite(AppError):  # noqa: N818
    """Another site asked the browser to make this request."""

    category = Category.NOT_ALLOWED
    code = "cross_site"
    default_sentence = "This request came from another site. Repeat it from a page of this site."
    heading = "Request from another site"


class PlatformChanged(AppError):  # noqa: N818
    """The request names a platform connection that is not the session's current one."""

    category = Category.CONFLICT
    code = "platform_changed"
    default_sentence = (
        "You switched accounts after you opened this page. Nothing was done."
        " Check the current account and try again."
    )
    heading = "You switched accounts"


class UserChanged(AppError):  # noqa: N818
    """The form was opened by another user than the one who is logged in now."""

    category = Category.CONFLICT
    code = "user_changed"
    default_sentence = (
        "Another user logged in after you opened this page. Nothing was done. Reload the page."
    )
    heading = "Another user is logged in"
