"""The stand-in's app registration, and the page where its user allows or denies."""

import time
from urllib.parse import urlencode, urlsplit

from markupsafe import Markup
from quart import Blueprint, Response, abort, jsonify, request
from werkzeug.datastructures import MultiDict

from standins.answers import error, html, refused, software, stand_in
from standins.records import CODE_SECONDS, App, Grant
from standins.software import InvalidScope, Pkce

routes = Blueprint("authorization", __name__)

_CARRIED = (
    *("client_id", "redirect_uri", "scope", "state", "response_type"),
    *("code_challenge", "code_challenge_method"),
)
_PAGE = Markup("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Authorize {app}</title>
<meta name="viewport" content="width=device-width">
<style>body {{ max-width: 30rem; margin: 2rem auto; font: 1rem/1.5 sans-serif; padding: 0 1rem }}
button, input {{ font: inherit; padding: .4rem .8rem }}</style>
<h1>{server}</h1>
<p><strong>{app}</strong> asks for access to your account: <code>{scopes}</code></p>
<form method="post">{hidden}
<p><label>Log in as <input name="username" value="ada" list="users" required></label>
<datalist id="users">{users}</datalist>
<p><button name="decision" value="allow">Allow</button> {deny}
</form></html>""")
_DENY = Markup('<button name="decision" value="deny" formnovalidate>Deny</button>')


@routes.post("/api/v1/apps")
async def register_app() -> Response:
    """Register an app from a form, as documented; a body of JSON has no fields for it."""
    if refusal := software().no_registration:
        return refused(refusal)
    form = await request.form
    name, uris = form.get("client_name", ""), form.get("redirect_uris", "").split()
    if not name:
        return error(422, "Validation failed: Application name can't be blank")
    if not uris or not all(urlsplit(uri).scheme for uri in uris):
        return error(422, "Validation failed: Redirect URI must be an absolute URI.")
    scopes = form.get("scopes", "read").split()
    if not software().registers_any_scope and not set(scopes) <= set(software().scopes):
        return error(422, "Validation failed: Scopes doesn't match configured on the server.")
    app = stand_in().add_app(name, form.get("website"), tuple(uris), scopes)
    return jsonify(
        {
            "id": app.id,
            "name": app.name,
            "website": app.website,
            "redirect_uri": "\n".join(app.redirect_uris),
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "vapid_key": "",
        }
    )


@routes.get("/oauth/authorize")
async def authorization_page() -> Response:
    """Show who asks for what, with a form to log in and to allow or deny it."""
    app = _app_that_may_ask(request.args)
    hidden = [
        Markup('<input type="hidden" name="{}" value="{}">').format(name, request.args[name])
        for name in _CARRIED
        if name in request.args
    ]
    users = [Markup('<option value="{}">').format(name) for name in stand_in().users]
    return html(
        _PAGE.format(
            server=f"{software().name.title()} at {request.host}",
            app=app.name,
            scopes=request.args.get("scope", "read"),
            hidden=Markup().join(hidden),
            users=Markup().join(users),
            deny=_DENY if software().can_deny else "",
        )
    )


@routes.post("/oauth/authorize")
async def decide() -> Response:
    """Go back to the application with a code, or with a denial."""
    form = await request.form
    app = _app_that_may_ask(form)
    if form.get("decision") == "deny" and software().can_deny:
        description = "The resource owner or authorization server denied the request."
        denial = {"error": "access_denied", "error_description": description}
        return _back(form, denial, with_state=software().denial_has_state)
    user = stand_in().user(form.get("username", "ada"))
    grant = Grant(
        client_id=app.client_id,
        redirect_uri=form["redirect_uri"],
        username=user.username,
        scopes=tuple(form.get("scope", "read").split()),
        challenge=form.get("code_challenge"),
        challenge_method=form.get("code_challenge_method", "plain"),
        expires_at=time.time() + CODE_SECONDS,
    )
    return _back(form, {"code": stand_in().add_grant(grant)})


def _app_that_may_ask(fields: MultiDict[str, str]) -> App:
    """Return the app; else answer with an error page, or a redirect with an error."""
    app = stand_in().apps.get(fields.get("client_id", ""))
    if app is None:
        abort(_stranded(401, "Client authentication failed due to unknown client."))
    if fields.get("redirect_uri") not in app.redirect_uris:
        abort(_stranded(400, "The redirect uri included is not valid."))
    if fields.get("response_type") != "code":
        abort(_stranded(400, "The authorization server does not support this response type."))
    method = fields.get("code_challenge_method", "S256")
    if software().pkce is Pkce.S256_ONLY and (
        method != "S256" or ("code_challenge_method" in fields) != ("code_challenge" in fields)
    ):
        abort(error(400, "invalid_request", "The code challenge method must be S256."))
    asked = set(fields.get("scope", "read").split())
    if not asked <= set(app.scopes) & set(software().scopes):
        if software().invalid_scope is InvalidScope.REDIRECT:
            abort(_back(fields, {"error": "invalid_scope", "error_description": "Unknown scope"}))
        if software().invalid_scope is InvalidScope.PAGE:
            abort(error(400, "invalid_scope"))
    return app


def _stranded(status: int, sentence: str) -> Response:
    return html(str(Markup("<h1>An error has occurred</h1><p>{}</p>").format(sentence)), status)


def _back(
    fields: MultiDict[str, str], values: dict[str, str], *, with_state: bool = True
) -> Response:
    """Redirect to the application."""
    if with_state and "state" in fields:
        values["state"] = fields["state"]
    query = urlencode(values)
    if not software().state_is_escaped:
        query = "&".join(f"{name}={value}" for name, value in values.items())
    uri = fields["redirect_uri"]
    location = f"{uri}{'&' if '?' in uri else '?'}{query}"
    return Response("", status=302, headers={"Location": location})
