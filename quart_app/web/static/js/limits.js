// The session's limits: a warning before each, with a way to stay where there is one. What is done
// here counts as activity, so that nobody who fills in a long form is logged out in the middle.

import { tell } from "./channel.js";
import { now, renew } from "./state.js";

const WARNED_MS = 120_000; // before the limit; half of a limit that is shorter
const RENEWED_MS = 60_000; // activity is told of at most so often; a quarter of a shorter limit
const LOOK_MS = 20_000; // at the clocks, at the latest
const JUMP_MS = 2_000; // by which two clocks differ when the machine has slept

let state = null;
let isUnderstood = false; // that the session ends whatever is done
let shown = null; // "idle", "absolute" or null
let dialog = null;
let opener = null;
let timer;
let isRenewing = false;
let clocks = [performance.now(), Date.now()];
let handlers = { over() {}, renewed() {}, doubtful() {} };

/** Watch the limits. `over` is called when one is reached, `doubtful` when the machine has slept. */
export function watch(given) {
  handlers = given;
  for (const kind of ["keydown", "pointerdown"]) {
    document.addEventListener(kind, (event) => event.isTrusted && active(), { passive: true });
  }
}

/** Take note of the session's times; a state that is older than what is known changes nothing. */
export function learn(newer) {
  const isOther = !state || state.created_at !== newer.created_at;
  if (!isOther && newer.idle_expires_at < state.idle_expires_at) return;
  if (isOther) isUnderstood = false;
  state = newer;
  look();
}

/** Somebody has read, in whatever tab, that the session ends. */
export function understand() {
  isUnderstood = true;
  look();
}

/** Which limit is past, if any. */
export function reached() {
  if (!state || now() < Math.min(moment("idle_expires_at"), moment("expires_at"))) return undefined;
  return moment("expires_at") <= moment("idle_expires_at") ? "expired" : "idle";
}

const moment = (name) => Date.parse(state[name]);
const idleMs = () => moment("idle_expires_at") - moment("last_activity");
const warnedMs = (limit) => (limit > WARNED_MS ? WARNED_MS : limit / 2);

function look() {
  clearTimeout(timer);
  if (!state) return;
  const [page, wall] = clocks;
  clocks = [performance.now(), Date.now()];
  if (Math.abs(clocks[1] - wall - (clocks[0] - page)) > JUMP_MS) handlers.doubtful();
  const idle = moment("idle_expires_at") - now();
  const absolute = moment("expires_at") - now();
  const left = Math.min(idle, absolute);
  if (left <= 0) {
    timer = setTimeout(look, 1000); // where the server says that it is not over yet
    handlers.over(reached());
    return;
  }
  const toIdle = idle - warnedMs(idleMs());
  const toAbsolute = absolute - warnedMs(moment("expires_at") - moment("created_at"));
  if (toAbsolute <= 0 && !isUnderstood) show("absolute", absolute);
  else if (toIdle <= 0 && idle < absolute) show("idle", idle);
  else show(null);
  const next = [left, toIdle, toAbsolute].filter((milliseconds) => milliseconds > 0);
  timer = setTimeout(look, shown ? Math.min(1000, left) : Math.min(LOOK_MS, ...next));
}

async function active() {
  if (!state || shown || isRenewing) return;
  if (now() - moment("last_activity") < Math.min(RENEWED_MS, idleMs() / 4)) return;
  await stay();
}

async function stay() {
  isRenewing = true;
  const newer = await renew();
  isRenewing = false;
  if (newer) {
    learn(newer);
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
    // Not read aloud each second.
    element("p", { className: "warning-clock" }, "Time left: ", element("span", {}, "")),
    element("p", { className: "wrong", role: "alert" }, ""),
    element("div", { className: "actions" }, button(kind), logOut()),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault(); // whoever presses Esc is there
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
      tell("understood");
      understand();
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
    { method: "post", action: "/logout" },
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
