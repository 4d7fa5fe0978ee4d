// Refreshes the parts of a page that show the current account. They are marked `data-current-account`
// and have an id each. Everything else stays, such as a form half filled in.

const PATIENCE_MS = 10_000;
let latest = 0;

/** Return whether the parts are those of now. */
export async function refresh() {
  const number = ++latest;
  const { page, address } = await pageAt(location.href, { isUnattended: true });
  if (number !== latest) return true; // a later one knows better
  if (page === null) return false;
  if (new URL(address).pathname === "/login") {
    location.assign(address); // the session is over
    return true;
  }
  if (page.body.dataset.userId !== document.body.dataset.userId) return false;
  if (!page.getElementById("switcher")) return false;
  document.body.dataset.platformConnectionId = page.body.dataset.platformConnectionId;
  for (const part of document.querySelectorAll("[data-current-account]")) {
    const anew = page.getElementById(part.id);
    if (anew) replace(part, anew);
  }
  return true;
}

/**
 * Return a page and the address that it came from, or null for both.
 *
 * By XMLHttpRequest, for it reads HTML by itself, without carrying out anything that it holds. Of
 * text no script of ours makes HTML: the policy's trusted types forbid it.
 */
export function pageAt(address, { isUnattended }) {
  return new Promise((answered) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.timeout = PATIENCE_MS;
    if (isUnattended) request.setRequestHeader("X-Unattended", "true"); // it is no activity
    request.addEventListener("loadend", () => {
      answered({ page: request.response, address: request.responseURL });
    });
    request.send();
  });
}

function replace(part, anew) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const isOpen = part.querySelector(":popover-open");
  part.replaceWith(document.adoptNode(anew));
  if (isOpen) {
    const source = anew.querySelector("[popovertarget]");
    anew.querySelector("[popover]").showPopover({ source });
  }
  if (!focused) return;
  const again = document.getElementById(focused.id) ?? document.getElementById("main");
  again.focus({ preventScroll: true });
}
