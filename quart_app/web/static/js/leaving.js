// Leaving a page whose session is over: at once, to the login page, which says why.

// The server's words for an end (docs/http.md), and the notice by which the login page says it.
const NOTICES = {
  logged_out: "ended-here",
  logged_out_everywhere: "ended-everywhere",
  disowned: "ended-everywhere",
  password_changed: "ended-password",
  password_reset: "ended-password",
  removed: "ended-device",
  deactivated: "ended-administrator",
  administrator: "ended-administrator",
  too_many: "ended-too-many",
  idle: "ended-idle",
  expired: "ended-limit",
};
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
  if (isLeaving) return; // to go once more would only begin anew
  isLeaving = true;
  const address = new URL("/login", location.origin);
  const here = new URL(location);
  here.searchParams.delete("notice");
  address.searchParams.set("next", here.pathname + here.search);
  address.searchParams.set("notice", NOTICES[reason] ?? "ended");
  if (isSomethingTyped()) address.searchParams.set("unsent", "");
  location.replace(address);
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
