// Leaves a page whose session has ended, for the login page, which says why.

import { nameHere, pathOf } from "./addresses.js";

// The sentence on the login page for each reason (docs/http.md).
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
const UNKNOWN_REASON = "Your session has ended, so you were logged out.";
const UNSENT = "Your input was not sent.";
// The sentence is kept in the tab's session storage. In the address, a link could forge it, and each
// reload would show it again.
const NOTICE_KEY = nameHere("quart_app notice");
const NOTICE_MAX_AGE_MS = 60_000;
const SUBMITTING_MS = 10_000;
let isSubmitting = false;
let postponed = null; // the reason to leave after the submission
let isLeaving = false;

/** Hide the page until `reveal` is called. */
export function hide() {
  document.documentElement.classList.add("session-unsure");
}

export function reveal() {
  document.documentElement.classList.remove("session-unsure");
}

/** Go to the login page, which returns here after the login. */
export function leave(reason) {
  if (isSubmitting) {
    // The answer to the submission sets the cookie and decides what to show.
    postponed = { reason };
    return;
  }
  hide();
  if (isLeaving) return; // a second navigation would cancel the first
  isLeaving = true;
  const address = new URL(pathOf("/login"), location.origin);
  address.searchParams.set("next", location.pathname + location.search);
  const sentence = SENTENCES[reason] ?? UNKNOWN_REASON;
  leaveNotice(isSomethingTyped() ? `${sentence} ${UNSENT}` : sentence);
  location.replace(address);
}

function leaveNotice(sentence) {
  try {
    sessionStorage.setItem(NOTICE_KEY, JSON.stringify({ sentence, at: Date.now() }));
  } catch {
    // Storage is disabled. The login page then shows no sentence.
  }
}

/** Return the sentence that the previous page left, and remove it; undefined if there is none. */
export function takeNotice() {
  try {
    const { sentence, at } = JSON.parse(sessionStorage.getItem(NOTICE_KEY) ?? "{}");
    sessionStorage.removeItem(NOTICE_KEY);
    return Math.abs(Date.now() - at) < NOTICE_MAX_AGE_MS ? sentence : undefined;
  } catch {
    return undefined;
  }
}

/** Load this address with GET. A real reload would submit a form again. */
export function reload() {
  location.replace(location.pathname + location.search); // with the fragment, it would only scroll
}

/** Return whether a form has input that was not sent. */
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
  if (event.defaultPrevented) return; // a script sends the form, and the page stays
  isSubmitting = true;
  setTimeout(() => {
    isSubmitting = false;
    if (postponed) leave(postponed.reason); // the form started a download, or got no answer
  }, SUBMITTING_MS);
});
window.addEventListener("pageshow", () => {
  isSubmitting = isLeaving = false;
  postponed = null;
});
