// Keeps a page in sync with the session, whatever other tabs, devices or the server do.
//
// Messages and events are only hints. The truth is the cookie, as the server reads it at the moment
// (GET /api/session_state, which takes no query). So if two tabs switch at once, both end up with
// the account in the cookie.

import { pathOf } from "./addresses.js";
import * as channel from "./channel.js";
import { hide, isSomethingTyped, leave, reveal, reload, takeNotice } from "./leaving.js";
import { update, reached, acknowledge, watch } from "./limits.js";
import { lookAtForms } from "./stale_forms.js";
import { ask, nameOf } from "./state.js";
import { note, say } from "./status.js";
import { follow } from "./stream.js";

const idOf = (text) => (text ? Number(text) : null);
const user = idOf(document.body.dataset.userId);
let platformConnectionId = idOf(document.body.dataset.platformConnectionId);

// After these reasons, this browser may have a new session, whose cookie arrives a moment later.
const MAY_CONTINUE = new Set(["replaced", "password_changed"]);
const COOKIE_DELAY_MS = 300;
const JUST_LOADED_MS = 5_000; // a first stream sends the events since the page was loaded

// --- the session's state, from the server ---

let checking = null;
let checkAgain = false;
let why; // the reason that was announced for the session's end

/** Fetch the session's state and update the page; only one fetch runs at a time. */
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
    update(state);
    channel.send("state", { state });
    await setCurrent(state.platform_connection_id);
    return state;
  })();
  return checking;
}

function over(reason) {
  channel.send("ended", { reason });
  following.abort();
  leave(reason);
}

/** Reload the page for another user, who has logged in. Never resolves, so callers do nothing. */
function startOver() {
  hide();
  reload();
  return new Promise(() => {});
}

async function setCurrent(id, knownName) {
  if (id === platformConnectionId) return;
  platformConnectionId = id;
  const name = id === null ? null : (knownName ?? (await nameOf(id)) ?? "another account");
  if (id !== platformConnectionId) return; // the user has switched again meanwhile
  document.body.dataset.platformConnectionId = id ?? "";
  say(name === null ? "You have no current account." : `Switched to ${name}`);
  document.dispatchEvent(
    new CustomEvent("session:switched-elsewhere", { detail: { platform_connection_id: id, name } }),
  );
  await lookAtForms(id, name);
}

// --- events from other tabs, devices and the server ---

function changed() {
  document.dispatchEvent(new CustomEvent("session:platforms-changed"));
  check();
}

/** Hide the page, check whether the session has ended, then leave or reveal the page. */
async function leaveUnlessAlive(reason, moment = 0) {
  hide();
  await new Promise((resolve) => setTimeout(resolve, moment));
  const state = await check(reason);
  if (state) reveal();
  else if (state === undefined) over(reason);
}

function ended(reason) {
  if (reason === "idle") leaveUnlessAlive(reason); // there may have been activity since the event
  else if (MAY_CONTINUE.has(reason)) leaveUnlessAlive(reason, COOKIE_DELAY_MS);
  else over(reason);
}

/** Handle an event of the stream, which this tab or another one reads. */
function heard(kind, data) {
  if (kind === "platform") check();
  else if (kind === "platforms") changed();
  else if (kind === "ended") ended(data.reason);
}

function onMessage({ kind, ...detail }) {
  if (kind === "hello") {
    const isOther = detail.user !== user || detail.platformConnectionId !== platformConnectionId;
    if (isOther) check(why ?? reached() ?? "logged_out");
  } else if (kind === "switched") {
    setCurrent(detail.platform_connection_id, detail.name);
    check();
  } else if (kind === "state") {
    if (detail.state.user_id === user) update(detail.state);
  } else if (kind === "acknowledged") {
    acknowledge();
  } else if (kind === "ended") {
    if (!following.signal.aborted) leaveUnlessAlive(detail.reason);
  } else {
    heard(kind, detail);
  }
}

// --- life cycle of the page ---

let following = new AbortController();

function begin() {
  channel.open(onMessage);
  channel.send("hello", { user, platformConnectionId });
  following = new AbortController();
  follow(
    {
      opened() {
        if (performance.now() < JUST_LOADED_MS) return;
        channel.send("platforms"); // events may have been missed
        changed();
      },
      heard(kind, data) {
        channel.send(kind, data);
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
    clockJumped: () => check(),
    renewed: (state) => channel.send("state", { state }),
  });
  document.addEventListener("session:switched", ({ detail }) => {
    platformConnectionId = detail.platform_connection_id;
    channel.send("switched", detail);
    lookAtForms(platformConnectionId, detail.name);
    check();
  });
  document.addEventListener("visibilitychange", () => document.hidden || check());
  // Hide the page before it enters the back/forward cache, because the back button shows it as it was.
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

/** Set up a page without a login: the login page reloads when another tab logs in. */
function initVisitor() {
  const onMessage = ({ kind, user: whose }) => {
    if (kind === "hello" && whose && location.pathname === pathOf("/login") && !isSomethingTyped()) {
      reload();
    }
  };
  const begin = () => {
    channel.open(onMessage);
    channel.send("hello", { user: null, platformConnectionId: null });
  };
  window.addEventListener("pagehide", channel.close);
  window.addEventListener("pageshow", ({ persisted }) => persisted && begin());
  begin();
}

const left = takeNotice(); // on any page, so that no later page shows it
if (left && location.pathname === pathOf("/login")) note(left);
if (user === null) initVisitor();
else initMember();
