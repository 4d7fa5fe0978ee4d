// Leaving a page whose session is over: at once, to the login page, which says why.

// What the login page says for each of the server's words for an end (docs/http.md).
const SENTENCES = {
  logged_out: "You logged out in another tab or window.",
  logged_out_everywhere: "You were logged out on every device.",
  disowned: "You were logged out on every device.",
  password_changed: "You were logged out because your password was changed on another device.",
  password_reset: "You were logged out because your password was changed on another device.",
  removed: "You were logged out because this session was ended on another device.",
  deactivated: "You were logged out because an administrator ended your session.",
  administrator: "You were logged out because an administrator ended your session.",
  too_many: "You were logged out because you logged in on too many other devices.",
  idle: "You were logged out because you were inactive.",
  expired: "You were logged out because your session reached its time limit.",
};
const OTHERWISE = "Your session has ended, so you were logged out.";
const UNSENT = "Your input was not sent.";
// The sentence waits in the tab's own storage. An address could be forged by a link, and would say
// it again with each reload.
const WAITING = "quart_app notice";
const WAITS_MS = 60_000;
const ON_ITS_WAY_MS = 10_000;
let isOnItsWay = false;
let isHeldUp = null; // a departure that waits for that
let isLeaving = false;

/** Show nothing of the page, until `reveal`. */
export function hide() {
  document.documentElement.classList.add("session-unsure");
}

export function reveal() {
  document.documentElement.classList.remove("session-unsure");
}

/** Go to the login page, and after the login back to here. */
export function leave(reason) {
  if (isOnItsWay) {
    // The answer to what was sent here says what to show, and sets the cookie.
    isHeldUp = { reason };
    return;
  }
  hide();
  if (isLeaving) return; // a second navigation would cancel the first
  isLeaving = true;
  const address = new URL("/login", location.origin);
  address.searchParams.set("next", location.pathname + location.search);
  const sentence = SENTENCES[reason] ?? OTHERWISE;
  leaveNotice(isSomethingTyped() ? `${sentence} ${UNSENT}` : sentence);
  location.replace(address);
}

function leaveNotice(sentence) {
  try {
    sessionStorage.setItem(WAITING, JSON.stringify({ sentence, at: Date.now() }));
  } catch {
    // Storage that is switched off throws: the login page then says nothing.
  }
}

/** Return what the page that was left wanted to be said here, once; else undefined. */
export function takeNotice() {
  try {
    const { sentence, at } = JSON.parse(sessionStorage.getItem(WAITING) ?? "{}");
    sessionStorage.removeItem(WAITING);
    return Math.abs(Date.now() - at) < WAITS_MS ? sentence : undefined;
  } catch {
    return undefined;
  }
}

/** Show what this address shows now. To reload the answer to a form would send that once more. */
export function showAnew() {
  location.replace(location.pathname + location.search); // with its fragment it would only scroll
}

/** Tell whether somebody has filled in what was not sent. */
export function isSomethingTyped() {
  return [...document.forms].some((form) => [...form.elements].some(isChanged));
}

function isChanged(field) {
  if (field.type === "hidden" || field.readOnly) return false;
  if (field.type === "checkbox" || field.type === "radio") {
    return field.checked !== field.defaultChecked;
  }
  if (field.tagName === "SELECT") {
    const chosen = [...field.options].some((option) => option.defaultSelected);
    return chosen
      ? [...field.options].some((option) => option.selected !== option.defaultSelected)
      : field.selectedIndex > 0;
  }
  return ["INPUT", "TEXTAREA"].includes(field.tagName) && field.value !== field.defaultValue;
}

window.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return; // a script sends it, and the page stays
  isOnItsWay = true;
  setTimeout(() => {
    isOnItsWay = false;
    if (isHeldUp) leave(isHeldUp.reason); // it was a download, or no answer came
  }, ON_ITS_WAY_MS);
});
window.addEventListener("pageshow", () => {
  isOnItsWay = isLeaving = false;
  isHeldUp = null;
});
