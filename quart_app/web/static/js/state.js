// The session's state from the server. Times are by the server's clock, because the clock of this
// machine may be wrong.

import { pathOf } from "./addresses.js";

const TIMEOUT_MS = 10_000;
let ahead = 0; // the server's clock minus the page's, in milliseconds

/** The server's time, in milliseconds since 1970. */
export const now = () => performance.now() + ahead;

/** Return the session's state; null if there is no session, undefined if the server does not answer. */
export const ask = () => fetchState("/api/session_state");

/** Record activity, and return the same as `ask`. */
export const renew = () => fetchState("/api/session/renew", { method: "POST" });

async function fetchState(route, options = {}) {
  const asked = performance.now();
  try {
    const response = await fetch(pathOf(route), {
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...options,
    });
    if (response.status === 401) return null;
    if (!response.ok) return undefined;
    const state = await response.json();
    // The server read its clock about halfway through the request.
    ahead = Date.parse(state.now) - (asked + performance.now()) / 2;
    return state;
  } catch {
    return undefined;
  }
}

/** Return the name of one of the user's accounts; undefined if it is unknown. */
export async function nameOf(id) {
  try {
    const response = await fetch(pathOf("/api/platforms"), {
      cache: "no-store",
      headers: { "X-Unattended": "true" }, // does not count as activity
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return (await response.json()).find((each) => each.id === id)?.name;
  } catch {
    return undefined;
  }
}
