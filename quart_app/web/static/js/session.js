// Keeps what a page shows in step with the session, whatever other tabs, devices or the server do.
//
// What is heard is only a hint: what holds is what the server reads from the cookie as it is now
// (GET /api/session_state, which costs it no query). So of two tabs that switch at once, both end at
// what the cookie says.

import * as channel from "./channel.js";
import { hide, isSomethingTyped, leave, reveal, showAnew, takeNotice } from "./leaving.js";
import { learn, reached, understand, watch } from "./limits.js";
import { lookAtForms } from "./stale_forms.js";
import { ask, nameOf } from "./state.js";
import { note, say } from "./status.js";
import { follow } from "./stream.js";

const idOf = (text) => (text ? Number(text) : null);
const user = idOf(document.body.dataset.userId);
let platformConnectionId = idOf(document.body.dataset.platformConnectionId);

// By these the browser's own session may go on as a new one, whose cookie comes a moment later.
const MAY_GO_ON = new Set(["replaced", "password_changed"]);
const MOMENT_MS = 300;
const JUST_LOADED_MS = 5_000; // the stream itself tells what happened since the page was made

// --- what the server says ---

let checking = null;
let checkAgain = false;
let why; // the session would be over, as far as anybody has said

/** Compare the page with the session; at most one asks at a time, and the last one asks last. */
function check(reason) {
  why = reason ?? why ?? reached();
  if (checking) {
    checkAgain = true;
    return checking;
  }
  checking = (async () => {
    let state;
    do {
      checkAgain = false;
      state = await ask();
    } while (checkAgain);
    checking = null;
    if (state === null) over(why);
    if (!state) return state;
    if (state.user_id !== user) return startOver();
    why = undefined;
    learn(state);
    channel.tell("state", { state });
    await actFor(state.platform_connection_id);
    return state;
  })();
  return checking;
}

function over(reason) {
  channel.tell("ended", { reason });
  following.abort();
  leave(reason);
}

/** Another user is logged in here now, whose page this is not. Whatever waits for it waits on. */
function startOver() {
  hide();
  showAnew();
  return new Promise(() => {});
}

async function actFor(id, knownName) {
  if (id === platformConnectionId) return;
  platformConnectionId = id;
  const name = id === null ? null : (knownName ?? (await nameOf(id)) ?? "another account");
  if (id !== platformConnectionId) return; // switched again meanwhile
  document.body.dataset.platformConnectionId = id ?? "";
  say(name === null ? "You have no current account." : `Switched to ${name}`);
  document.dispatchEvent(
    new CustomEvent("session:switched-elsewhere", { detail: { platform_connection_id: id, name } }),
  );
  await lookAtForms(id, name);
}

// --- what happens elsewhere ---

function changed() {
  document.dispatchEvent(new CustomEvent("session:platforms-changed"));
  check();
}

/** The session is over, or this tab can't tell for itself: it shows nothing until it knows. */
async function leaveUnlessAlive(reason, moment = 0) {
  hide();
  await new Promise((resolve) => setTimeout(resolve, moment));
  const state = await check(reason);
  if (state) reveal();
  else if (state === undefined) over(reason);
}

function ended(reason) {
  if (reason === "idle") leaveUnlessAlive(reason); // the stream may not know what was done since
  else if (MAY_GO_ON.has(reason)) leaveUnlessAlive(reason, MOMENT_MS);
  else over(reason);
}

/** What the server tells by the stream, in this tab or in the one that has it. */
function heard(kind, data) {
  if (kind === "platform") check();
  else if (kind === "platforms") changed();
  else if (kind === "ended") ended(data.reason);
}

function told({ kind, ...detail }) {
  if (kind === "hello") {
    const isOther = detail.user !== user || detail.platformConnectionId !== platformConnectionId;
    if (isOther) check(why ?? reached() ?? "logged_out");
  } else if (kind === "switched") {
    actFor(detail.platform_connection_id, detail.name);
    check();
  } else if (kind === "state") {
    if (detail.state.user_id === user) learn(detail.state);
  } else if (kind === "understood") {
    understand();
  } else if (kind === "ended") {
    if (!following.signal.aborted) leaveUnlessAlive(detail.reason);
  } else {
    heard(kind, detail);
  }
}

// --- from here to there ---

let following = new AbortController();

function begin() {
  channel.open(told);
  channel.tell("hello", { user, platformConnectionId });
  following = new AbortController();
  follow(
    {
      opened() {
        if (performance.now() < JUST_LOADED_MS) return;
        channel.tell("platforms"); // nobody knows what was missed
        changed();
      },
      heard(kind, data) {
        channel.tell(kind, data);
        heard(kind, data);
      },
      ask: check,
    },
    following.signal,
  );
}

function initMember() {
  watch({
    over: leaveUnlessAlive,
    doubtful: () => check(),
    renewed: (state) => channel.tell("state", { state }),
  });
  document.addEventListener("session:switched", ({ detail }) => {
    platformConnectionId = detail.platform_connection_id;
    channel.tell("switched", detail);
    lookAtForms(platformConnectionId, detail.name);
    check();
  });
  document.addEventListener("visibilitychange", () => document.hidden || check());
  // The back button brings a page back as it was left, so nothing of it is left to see.
  window.addEventListener("pagehide", ({ persisted }) => {
    if (persisted) hide();
    following.abort();
    channel.close();
  });
  window.addEventListener("pageshow", async ({ persisted }) => {
    if (!persisted) return;
    begin();
    await leaveUnlessAlive();
  });
  begin();
  check();
}

/** On a page for visitors: once somebody logs in in another tab, go on as this one would. */
function initVisitor() {
  const hear = ({ kind, user: whose }) => {
    if (kind === "hello" && whose && location.pathname === "/login" && !isSomethingTyped()) {
      showAnew();
    }
  };
  const begin = () => {
    channel.open(hear);
    channel.tell("hello", { user: null, platformConnectionId: null });
  };
  window.addEventListener("pagehide", channel.close);
  window.addEventListener("pageshow", ({ persisted }) => persisted && begin());
  begin();
}

const left = takeNotice(); // and on no later page
if (left && location.pathname === "/login") note(left);
if (user === null) initVisitor();
else initMember();
