// The session as the server sees it. Its clock counts: this machine's may be wrong, and a page's own
// stands still while the machine sleeps.

const PATIENCE_MS = 10_000;
let ahead = 0; // the server's clock, less this page's, in milliseconds

/** The server's time, in milliseconds since 1970. */
export const now = () => performance.now() + ahead;

/** The session's state; null where there is none, undefined where the server does not tell. */
export const ask = () => fetched("/api/session_state");

/** Count as activity, and return as `ask` does. */
export const renew = () => fetched("/api/session/renew", { method: "POST" });

async function fetched(path, options = {}) {
  const asked = performance.now();
  try {
    const response = await fetch(path, {
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...options,
    });
    if (response.status === 401) return null;
    if (!response.ok) return undefined;
    const state = await response.json();
    // It was read between asking and now.
    ahead = Date.parse(state.now) - (asked + performance.now()) / 2;
    return state;
  } catch {
    return undefined;
  }
}

/** The name of one of the user's connections; undefined where that can't be told. */
export async function nameOf(id) {
  try {
    const response = await fetch("/api/platforms", {
      cache: "no-store",
      headers: { "X-Unattended": "true" }, // nobody asked, so that it counts as no activity
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return (await response.json()).find((each) => each.id === id)?.name;
  } catch {
    return undefined;
  }
}
