// Warns before the session's limits. Before the idle limit, the user can stay logged in. Input counts
// as activity, so that nobody is logged out while filling in a long form.

import { pathOf } from "./addresses.js";
import { send } from "./channel.js";
import { now, renew } from "./state.js";

const WARNING_MS = 120_000; // before the limit, or half of a short limit
const RENEWAL_MS = 60_000; // between two renewals, or a quarter of a short limit
const CHECK_MS = 20_000; // between two checks, at most
const CLOCK_JUMP_MS = 2_000; // a larger difference between two clocks means that the machine slept

let state = null;
let isAcknowledged = false; // the warning before the absolute limit
let shown = null; // "idle", "absolute" or null
let dialog = null;
let opener = null;
let timer;
let isRenewing = false;
let clocks = [performance.now(), Date.now()];
let handlers = { over() {}, renewed() {}, clockJumped() {} };

/** Watch the limits. Calls `over` at a limit, and `clockJumped` after the machine has slept. */
export function watch(given) {
  handlers = given;
  for (const kind of ["keydown", "pointerdown"]) {
    document.addEventListener(kind, (event) => event.isTrusted && active(), { passive: true });
  }
}

/** Use the times of a newer state of the session; older states are ignored. */
export function update(newer) {
  const isOther = !state || state.created_at !== newer.created_at;
  if (!isOther && newer.idle_expires_at < state.idle_expires_at) return;
  if (isOther) isAcknowledged = false;
  state = newer;
  check();
}

/** Note that the user has confirmed, in any tab, that the session will end. */
export function acknowledge() {
  isAcknowledged = true;
  check();
}

/** Return which limit has passed: "idle", "expired" or undefined. */
export function reached() {
  if (!state || now() < Math.min(moment("idle_expires_at"), moment("expires_at"))) return undefined;
  return moment("expires_at") <= moment("idle_expires_at") ? "expired" : "idle";
}

const moment = (name) => Date.parse(state[name]);
const idleMs = () => moment("idle_expires_at") - moment("last_activity");
const warningMs = (limit) => (limit > WARNING_MS ? WARNING_MS : limit / 2);

function check() {
  clearTimeout(timer);
  if (!state) return;
  const [page, wall] = clocks;
  clocks = [performance.now(), Date.now()];
  if (Math.abs(clocks[1] - wall - (clocks[0] - page)) > CLOCK_JUMP_MS) handlers.clockJumped();
  const idle = moment("idle_expires_at") - now();
  const absolute = moment("expires_at") - now();
  const left = Math.min(idle, absolute);
  if (left <= 0) {
    timer = setTimeout(check, 1000); // in case the server says that the session has not ended
    handlers.over(reached());
    return;
  }
  const toIdle = idle - warningMs(idleMs());
  const toAbsolute = absolute - warningMs(moment("expires_at") - moment("created_at"));
  if (toAbsolute <= 0 && !isAcknowledged) show("absolute", absolute);
  else if (toIdle <= 0 && idle < absolute) show("idle", idle);
  else show(null);
  const next = [left, toIdle, toAbsolute].filter((milliseconds) => milliseconds > 0);
  timer = setTimeout(check, shown ? Math.min(1000, left) : Math.min(CHECK_MS, ...next));
}

async function active() {
  if (!state || shown || isRenewing) return;
  if (now() - moment("last_activity") < Math.min(RENEWAL_MS, idleMs() / 4)) return;
  await stay();
}

async function stay() {
  isRenewing = true;
  const newer = await renew();
  isRenewing = false;
  if (newer) {
    update(newer);
    handlers.renewed(newer);
  } else if (newer === null) {
    handlers.over("idle");
  }
  return newer;
}

// --- the warning ---

const TITLES = { idle: "Are you still there?", absolute: "Your session is about to end" };
const WORDS = {
  idle: "You have been inactive and are about to be logged out. Anything that you typed but did not send will be lost.",
  absolute:
    "It has reached its time limit and can’t be extended. Send what you have typed, then log in again.",
};

function show(kind, left) {
  if (kind !== shown) {
    hide();
    if (kind) open(kind);
  }
  if (shown) {
    const seconds = Math.ceil(left / 1000);
    dialog.querySelector(".warning-clock span").textContent =
      `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}

function open(kind) {
  shown = kind;
  opener = document.activeElement;
  dialog = document.createElement("dialog");
  dialog.className = "warning";
  dialog.setAttribute("role", "alertdialog");
  dialog.setAttribute("aria-labelledby", "warning-title");
  dialog.setAttribute("aria-describedby", "warning-words");
  dialog.append(
    element("h2", { id: "warning-title" }, TITLES[kind]),
    element("p", { id: "warning-words" }, WORDS[kind]),
    // Outside the description, so that screen readers do not read it every second.
    element("p", { className: "warning-clock" }, "Time left: ", element("span", {}, "")),
    element("p", { className: "wrong", role: "alert" }, ""),
    element("div", { className: "actions" }, button(kind), logOut()),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault(); // pressing Esc shows that the user is there
    dialog.querySelector("button").click();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("button").focus();
}

function button(kind) {
  const words = kind === "idle" ? "Stay logged in" : "I understand";
  const made = element("button", { type: "button", className: "button-main" }, words);
  made.addEventListener("click", async () => {
    if (kind === "absolute") {
      send("acknowledged");
      acknowledge();
    } else if ((await stay()) === undefined && dialog) {
      dialog.querySelector("[role=alert]").textContent =
        "quart_app can’t be reached. Please try again.";
    }
  });
  return made;
}

function logOut() {
  return element(
    "form",
    { method: "post", action: pathOf("/logout") },
    element("button", { className: "button-plain" }, "Log out"),
  );
}

function hide() {
  if (!dialog) return;
  dialog.close();
  dialog.remove();
  dialog = shown = null;
  opener?.focus({ preventScroll: true });
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
