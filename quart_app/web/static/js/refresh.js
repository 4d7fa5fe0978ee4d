// Replaces the parts of a page that depend on the current account: elements with an id and
// `data-current-account`. The rest stays as it is, such as a half-filled form.

import { pathOf } from "./addresses.js";

const TIMEOUT_MS = 10_000;
let latest = 0;

/** Refresh the parts; return whether they are up to date. */
export async function refresh() {
  const number = ++latest;
  const { page, address } = await pageAt(location.href, { isUnattended: true });
  if (number !== latest) return true; // a later refresh has replaced this one
  if (page === null) return false;
  if (new URL(address).pathname === pathOf("/login")) {
    location.assign(address); // the session has ended
    return true;
  }
  if (page.body.dataset.userId !== document.body.dataset.userId) return false;
  if (!page.getElementById("switcher")) return false;
  document.body.dataset.platformConnectionId = page.body.dataset.platformConnectionId;
  for (const part of document.querySelectorAll("[data-current-account]")) {
    const updated = page.getElementById(part.id);
    if (updated) replace(part, updated);
  }
  return true;
}

/**
 * Return a page and its final address, or null for both.
 *
 * XMLHttpRequest parses HTML without running its scripts. Parsing text as HTML in a script is
 * forbidden by the Trusted Types of our Content-Security-Policy.
 */
export function pageAt(address, { isUnattended }) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.timeout = TIMEOUT_MS;
    if (isUnattended) request.setRequestHeader("X-Unattended", "true"); // does not count as activity
    request.addEventListener("loadend", () => {
      resolve({ page: request.response, address: request.responseURL });
    });
    request.send();
  });
}

function replace(part, updated) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const open = part.querySelector(":popover-open");
  part.replaceWith(document.adoptNode(updated));
  if (open) {
    const source = updated.querySelector(`[popovertarget="${open.id}"]`);
    updated.querySelector(`#${open.id}`)?.showPopover({ source });
  }
  if (!focused) return;
  const again = document.getElementById(focused.id) ?? document.getElementById("main");
  again.focus({ preventScroll: true });
}
