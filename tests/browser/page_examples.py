"""An example of every page, including error pages and dialogs that scripts open."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Page, expect

from tests.conftest import PASSWORD

COMMON = "password1"  # long enough, but refused
# Values for `{name}` in a path or a field: ids and tokens of the scene.
Values = dict[str, str]
Act = Callable[[Page, Values], Awaitable[None]]


@dataclass(frozen=True)
class Example:
    """A path, what to do there, and an element that shows that it is done."""

    path: str
    act: Act | None = None
    shown: str = "main h1"
    what: str = ""

    @property
    def name(self) -> str:
        return f"{self.path} {self.what}".strip()


def sends(button: str, **fields: str) -> Act:
    """Fill in fields, each by its `id`, and submit the form."""

    async def act(page: Page, values: Values) -> None:
        for field, value in fields.items():
            await page.locator(f"#{field}").fill(value.format_map(values))
        await page.locator("main").get_by_role("button", name=button, exact=True).click()

    return act


def presses(selector: str) -> Act:
    async def act(page: Page, _values: Values) -> None:
        await page.locator(selector).first.click()

    return act


async def chooses_a_refused_password(page: Page, values: Values) -> None:
    await sends("Log in", username="given", password="{given}")(page, values)
    await expect(page.locator("#new_password")).to_be_visible()
    await sends("Set password and log in", new_password=COMMON)(page, values)


async def switches_where_the_server_is_away(page: Page, _values: Values) -> None:
    await page.context.set_offline(True)
    await page.locator("#switcher-button").click()
    await page.locator("#switcher-panel form button").first.click()
    await expect(page.locator("#status .message-error")).to_be_visible()
    await page.context.set_offline(False)


async def is_notified_of_a_switch(page: Page, _values: Values) -> None:
    """Switch in the background, so that the page's forms were made for another connection."""
    await page.evaluate("""async () => {
        const form = document.querySelector("#switcher-panel form");
        const id = Number(form.dataset.switch);
        await fetch(`/api/platforms/${id}/switch`, {method: "POST"});
        document.dispatchEvent(new CustomEvent("session:switched", {
            detail: {platform_connection_id: id, name: form.querySelector("strong").textContent},
        }));
    }""")


async def is_refused_for_a_switch(page: Page, _values: Values) -> None:
    """Submit a form despite the switch, as a browser without scripts does."""
    async with page.expect_navigation():
        await page.evaluate("""async () => {
            const {dataset} = document.querySelector("#switcher-panel form");
            await fetch(`/api/platforms/${dataset.switch}/switch`, {method: "POST"});
            document.querySelector("main [name=platform_connection_id]").form.submit();
        }""")


async def authorizes(page: Page, values: Values) -> None:
    """Go to the server, allow access there, and come back."""
    await sends("Continue", server="{peer}")(page, values)
    await page.locator(CONTINUE).click()
    await page.get_by_role("button", name="Allow").click()


CONTINUE = 'main a[href$="/continue"]'
ERROR, OPENED = "#error", "#switcher-panel:popover-open"
OPENS_THE_SWITCHER = presses("#switcher-button")
# Examples by user and endpoint: a route without an example fails a test.
EXAMPLES: dict[str, dict[str, list[Example]]] = {
    "a visitor": {
        "accounts.login_page": [
            Example("/login"),
            Example("/nothing", what="404"),
        ],
        "accounts.log_in": [
            Example("/login", sends("Log in", username="ada", password="wrong"), ERROR, "wrong"),
            Example(
                "/login",
                sends("Log in", username="given", password="{given}"),
                "#new_password",
                "of one use",
            ),
        ],
        "one_time_passwords.choose": [
            Example(
                "/login",
                chooses_a_refused_password,
                ERROR,
                "of one use, and the new one refused",
            )
        ],
        "one_time_passwords.form_page": [Example("/login/new_password", what="without a permit")],
        "accounts.set_up_page": [Example("/setup", what="410")],
        "reset_links.form_page": [Example("/reset?token={token}"), Example("/reset", what="410")],
        "reset_links.use": [
            Example(
                "/reset?token={token}",
                sends("Set password", new_password=COMMON),
                ERROR,
                "with an error",
            )
        ],
    },
    "newcomer": {
        "platforms.dashboard": [Example("/", OPENS_THE_SWITCHER, OPENED, "opened")],
        "platforms.list_page": [Example("/platforms")],
    },
    "member": {
        "platforms.dashboard": [
            Example("/"),
            Example("/", OPENS_THE_SWITCHER, OPENED, "opened"),
            Example("/", presses("form .choice"), "#status p", "switched"),
            Example("/", switches_where_the_server_is_away, "#status .message-error", "offline"),
            Example("/nothing", what="404"),
        ],
        "platforms.list_page": [
            Example("/platforms"),
            Example("/platforms", presses(".menu-button"), ".menu:popover-open", "with a menu"),
        ],
        "platforms.find_page": [Example("/platforms/find?sought=o&next=/account")],
        "authorizations.server_page": [Example("/platforms/new")],
        "authorizations.begin": [
            Example("/platforms/new", sends("Continue", server="not one"), ERROR, "with an error")
        ],
        "authorizations.authorization_page": [
            Example("/platforms/new", sends("Continue", server="{peer}"), CONTINUE, "and begun"),
            Example("/platforms/new", authorizes, ".who-large", "and authorized"),
        ],
        "authorizations.continue_there": [
            Example("/platforms/authorizations/999/continue", what="410")
        ],
        "authorizations.callback": [Example("/platforms/callback", what="410")],
        "platforms.connect_by_token_page": [Example("/platforms/new/token")],
        "platforms.connect_by_token": [
            Example(
                "/platforms/new/token",
                sends("Connect account", name="x", instance_url="not one", access_token="x"),
                ERROR,
                "with an error",
            )
        ],
        "platforms.rename_page": [
            Example("/platforms/{connection}/rename"),
            Example(
                "/platforms/{connection}/rename",
                is_notified_of_a_switch,
                ".stale-form",
                "noted as stale",
            ),
        ],
        "platforms.rename": [
            Example(
                "/platforms/{connection}/rename", sends("Rename", name=" "), ERROR, "with an error"
            ),
            Example("/platforms/{connection}/rename", is_refused_for_a_switch, ERROR, "409"),
        ],
        "platforms.remove_page": [Example("/platforms/{off}/remove")],
        "platforms.remove": [
            Example("/platforms/{connection}/remove", is_refused_for_a_switch, ERROR, "409")
        ],
        "accounts.account_again": [Example("/account/password")],
        "accounts.change_password": [
            Example(
                "/account",
                sends("Change password", current_password="wrong", new_password=PASSWORD),
                ERROR,
                "with an error",
            )
        ],
        "accounts.log_out_everywhere_page": [Example("/logout_all")],
        "alerts.disown_page": [Example("/account/not_me")],
        "devices.list_page": [Example("/devices")],
        "devices.end_page": [Example("/devices/{login}/end")],
        "devices.end_others_page": [Example("/devices/others/end")],
    },
    "member, who does nothing": {
        "accounts.account": [Example("/account", shown="dialog[open]", what="warned")]
    },
    "member, told of another login": {
        "platforms.dashboard": [Example("/")],
        "devices.list_page": [Example("/devices")],
    },
    "member, an hour later": {
        "devices.end_page": [Example("/devices/{login}/end")],
        "devices.end": [
            Example(
                "/devices/{login}/end",
                sends("End this session", current_password="wrong"),
                ERROR,
                "with an error",
            )
        ],
        "devices.end_others": [
            Example(
                "/devices/others/end",
                sends("End all other sessions", current_password="wrong"),
                ERROR,
                "with an error",
            )
        ],
    },
    "collector": {
        "platforms.dashboard": [Example("/", OPENS_THE_SWITCHER, OPENED, "opened")],
        "platforms.list_page": [
            Example("/platforms"),
            Example("/platforms?after=Garden+08"),
            Example("/platforms?sought=nothing"),
        ],
    },
    "root": {
        "admin.users_page": [
            Example("/admin/users"),
            Example("/admin/users?after=root&sought=nobody"),
        ],
        "admin.user_page": [
            Example("/admin/users/{member}"),
            Example("/admin/users/{gone}"),
        ],
        "admin.end_user_page": [Example("/admin/users/{member}/end")],
        "admin_reset_links.make_page": [
            Example("/admin/users/{member}/reset_link"),
            Example("/admin/users/{gone}/reset_link", what="409"),
        ],
        "admin_reset_links.make": [
            Example(
                "/admin/users/{given_id}/reset_link",
                sends("Create reset link"),
                "#link",
                "and made",
            )
        ],
        "admin.logins_page": [Example("/admin/sessions"), Example("/admin/sessions?before=1")],
        "admin.end_login_page": [Example("/admin/sessions/{login}/end")],
        "admin.end_everybodys_page": [Example("/admin/sessions/all/end")],
        "membership.create_page": [Example("/admin/users/new")],
        "membership.create": [
            Example(
                "/admin/users/new",
                sends("Create user", username="ada", email="a@example.com"),
                ERROR,
                "with an error",
            ),
            Example(
                "/admin/users/new",
                sends("Create user", username="someone-new", email="new@example.com"),
                "#link",
                "and made",
            ),
        ],
        "membership.deactivate_page": [Example("/admin/users/{member}/deactivate")],
        "membership.activate_page": [Example("/admin/users/{gone}/activate")],
        "membership.role_page": [Example("/admin/users/{root}/role")],
        "audit.list_page": [
            Example("/admin/audit", presses("summary"), "details[open]", "with numbers"),
            Example("/admin/audit?before=9"),
            Example("/admin/audit?event=disowned"),
            Example("/admin/audit?from_day=never", shown=ERROR),
        ],
    },
    "root, an hour later": {
        "membership.change_role": [
            Example(
                "/admin/users/{member}/role",
                sends("Change role", current_password="wrong"),
                ERROR,
                "with an error",
            )
        ],
    },
}
