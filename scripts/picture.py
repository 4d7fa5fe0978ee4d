#!/usr/bin/env python3
"""Take the README's picture anew: the demonstration's dashboard, in Debian's Chromium."""

import re
import subprocess
import sys
from pathlib import Path

from environment import ROOT, run_in_environment

run_in_environment("requirements-dev.lock")

from demo import PASSWORD, USERNAME
from playwright.sync_api import sync_playwright

PICTURE = ROOT / "docs" / "images" / "dashboard.png"
CHROMIUM = Path("/usr/bin/chromium")

if not CHROMIUM.exists():
    sys.exit(f"Chromium is not at {CHROMIUM}.")
serve = [sys.executable, str(ROOT / "scripts" / "serve"), "--demo", "--", "--bind", "127.0.0.1:0"]
with (
    subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server,
    sync_playwright() as playwright,
):
    try:
        log = server.stderr or ()
        address = next(filter(None, (re.search(r"Running on (http://\S+)", line) for line in log)))
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1000, "height": 860}, device_scale_factor=1.5)
        page.goto(address[1])
        page.get_by_label("Name or e-mail address").fill(USERNAME)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Notes").click()
        page.get_by_role("status").wait_for()
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
        browser.close()
        print(f"{PICTURE.relative_to(ROOT)} is taken.")
    finally:
        server.terminate()
