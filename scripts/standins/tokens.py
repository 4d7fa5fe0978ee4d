"""The stand-in's tokens: issued, refreshed, revoked, and what they let one read."""

import re

from quart import Blueprint, Response, jsonify, request
from werkzeug.datastructures import MultiDict

from standins.answers import error, html, origin, refused, software, stand_in
from standins.records import App, Token, User

routes = Blueprint("tokens", __name__)

_READS_ACCOUNT = {"profile", "read", "read:accounts"}


@routes.post("/oauth/token")
async def issue_token() -> Response:
    """Exchange a code, an app's own credentials or a refresh token for an access token."""
    form, app = await request.form, await _client()
    if app is None:
        return refused(software().unknown_client)
    grants = {"authorization_code": _by_code}
    if software().has_client_credentials:
        grants["client_credentials"] = _by_app
    if software().lifetime_seconds is not None:
        grants["refresh_token"] = _by_refresh_token
    grant = grants.get(form.get("grant_type", ""))
    return refused(software().unsupported_grant) if grant is None else grant(form, app)


def _by_code(form: MultiDict[str, str], app: App) -> Response:
    grant = stand_in().take_grant(
        form.get("code", ""), app, form.get("redirect_uri", ""), form.get("code_verifier", "")
    )
    if grant is None:
        return refused(software().invalid_code)
    reused = stand_in().reused_token(app, grant) if software().reuses_tokens else None
    return _issued(reused or stand_in().add_token(app, grant.username, grant.scopes))


def _by_app(form: MultiDict[str, str], app: App) -> Response:
    scopes = tuple(form.get("scope", "read").split())
    if not set(scopes) <= set(app.scopes):
        return error(400, "invalid_scope")
    return _issued(stand_in().add_token(app, None, scopes))


def _by_refresh_token(form: MultiDict[str, str], app: App) -> Response:
    value = stand_in().refreshed(form.get("refresh_token", ""), app)
    return error(400, "invalid_grant") if value is None else _issued(value)


async def _client() -> App | None:
    """Return the app that authenticates itself, by the form or by HTTP Basic."""
    form = await request.form
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    if (basic := request.authorization) is not None and basic.type == "basic":
        client_id, secret = basic.username or "", basic.password or ""
    return stand_in().authenticated_app(client_id, secret)


def _issued(value: str) -> Response:
    token = stand_in().tokens[value]
    body: dict[str, object] = {"access_token": value, "token_type": "Bearer"}
    if software().token_has_scope:
        body |= {"scope": " ".join(token.scopes), "created_at": token.created_at}
    if token.refresh_token is not None:
        body["refresh_token"] = token.refresh_token
    if software().lifetime_seconds is not None:
        body["expires_in"] = software().lifetime_seconds
    body |= stand_in().token_overrides
    return jsonify({name: value for name, value in body.items() if value is not ...})


@routes.post("/oauth/revoke")
async def revoke_token() -> Response:
    """Revoke one token of the app (RFC 7009)."""
    if not software().has_revocation:
        return html("<h1>Not found</h1>", 404)
    form, app = await request.form, await _client()
    token = stand_in().tokens.get(form.get("token", ""))
    if app is None or token is None or token.client_id != app.client_id:
        return error(403, "unauthorized_client", "You are not authorized to revoke this token")
    token.is_revoked = True
    return jsonify({})


@routes.get("/api/v1/accounts/verify_credentials")
async def verify_credentials() -> Response:
    """Say whose token this is."""
    token = _token()
    if not isinstance(token, Token):
        return token
    if token.username is None:
        return error(422, "This method requires an authenticated user")
    user = stand_in().users[token.username]
    if user.is_disabled:
        return error(403, "Your login is currently disabled")
    if not set(token.scopes) & _READS_ACCOUNT & set(software().scopes):
        return error(403, "This action is outside the authorized scopes")
    return jsonify(_account(user) | user.overrides)


@routes.get("/api/v1/apps/verify_credentials")
async def verify_app() -> Response:
    """Say which app's token this is."""
    token = _token()
    if not isinstance(token, Token):
        return token
    app = stand_in().apps[token.client_id]
    return jsonify({"id": app.id, "name": app.name, "website": app.website})


def _token() -> Token | Response:
    """Return the token that the request presents; the refusal where it is not valid."""
    bearer = re.fullmatch(r"Bearer (\S+)", request.headers.get("Authorization", ""))
    token = stand_in().tokens.get(bearer[1] if bearer else "")
    if token is None:
        return refused(software().invalid_token)
    return token if token.is_valid() else refused(software().revoked_token)


def _account(user: User) -> dict[str, object]:
    """Return https://docs.joinmastodon.org/entities/Account/, as far as clients need it here."""
    avatar = f"{origin()}/avatars/{user.username}.png"
    account: dict[str, object] = {
        "id": user.id,
        "username": user.username,
        "acct": user.username,
        "display_name": user.display_name,
        "url": f"{origin()}/@{user.username}",
        "avatar": avatar,
        "avatar_static": avatar,
        "locked": False,
        "bot": False,
        "note": "",
        "fields": [],
        "emojis": [],
        "source": {"privacy": "public", "sensitive": False, "language": "en"},
    }
    if user.moved_to is not None:
        name, _, host = user.moved_to.partition("@")
        moved = {"id": "1", "username": name, "acct": user.moved_to}
        account["moved"] = moved | {"url": f"https://{host}/@{name}"}
    return account
