#!/usr/bin/env python3
"""Take the README's pictures of the demonstration, light and dark, with Chromium."""

import re
import subprocess
import sys
from typing import Literal

from environment import ROOT, run_in_environment

run_in_environment("requirements-dev.lock")

from chromium import PROGRAMS, chromium_path
from demo import PASSWORD, USERNAME
from playwright.sync_api import Page, ViewportSize, sync_playwright

FOLDER = ROOT / "docs" / "images"
WINDOW: ViewportSize = {"width": 1000, "height": 720}
PAGES = {
    "dashboard": "/",
    "platforms": "/platforms",
    "devices": "/devices",
    "audit": "/admin/audit",
}


def log_in(page: Page, address: str) -> None:
    """Log in as the demonstration's user."""
    page.goto(address)
    page.get_by_label("Name or e-mail address").fill(USERNAME)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Dashboard").wait_for()


def take_all(page: Page, address: str, scheme: Literal["light", "dark"]) -> None:
    """Take a picture of each page; of the dashboard with the switcher open."""
    page.emulate_media(color_scheme=scheme)
    for name, path in PAGES.items():
        page.goto(f"{address}{path}")
        if name == "dashboard":
            page.locator("#switcher-button").click()
            page.get_by_role("link", name="Manage", exact=True).wait_for()
        picture = FOLDER / f"{name}-{scheme}.png"
        page.screenshot(path=picture)
        print(f"Wrote {picture.relative_to(ROOT)}, {picture.stat().st_size // 1024} KiB.")


chromium = chromium_path()
if chromium is None:
    sys.exit(f"There is no Chromium: install {' or '.join(program.name for program in PROGRAMS)}.")
serve = [sys.executable, str(ROOT / "scripts" / "serve"), "--demo", "--", "--bind", "127.0.0.1:0"]
with (
    subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server,
    sync_playwright() as playwright,
):
    try:
        log = server.stderr or ()
        address = next(filter(None, (re.search(r"Running on (http://\S+)", line) for line in log)))
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        FOLDER.mkdir(exist_ok=True)
        page = browser.new_page(viewport=WINDOW)
        log_in(page, address[1])
        take_all(page, address[1], "light")
        take_all(page, address[1], "dark")
        browser.close()
    finally:
        server.terminate()
