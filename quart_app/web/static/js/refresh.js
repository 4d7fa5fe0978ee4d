// Brings up to date what a page shows of the current connection: its parts marked `data-acting`,
// each with an id, as the server writes them now. All else stays, such as a form half filled in.

const PATIENCE_MS = 10_000;
let latest = 0;

/** Return whether the parts are those of now. */
export async function refresh() {
  const number = ++latest;
  let text;
  try {
    const response = await fetch(location.href, {
      headers: { "X-Unattended": "true" }, // nobody asked, so that it counts as no activity
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.redirected && new URL(response.url).pathname === "/login") {
      location.assign(response.url); // the session is over
      return true;
    }
    text = await response.text();
  } catch {
    return false;
  }
  if (number !== latest) return true; // a later one knows better
  const page = new DOMParser().parseFromString(text, "text/html");
  if (page.body.dataset.userId !== document.body.dataset.userId) return false;
  if (!page.getElementById("switcher")) return false;
  document.body.dataset.platformConnectionId = page.body.dataset.platformConnectionId;
  for (const part of document.querySelectorAll("[data-acting]")) {
    const anew = page.getElementById(part.id);
    if (anew) replace(part, anew);
  }
  return true;
}

function replace(part, anew) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const isOpen = part.querySelector(":popover-open");
  part.replaceWith(document.adoptNode(anew));
  if (isOpen) anew.querySelector("[popover]").showPopover();
  if (focused) (document.getElementById(focused.id) ?? document.getElementById("main"))
    .focus({ preventScroll: true });
}
