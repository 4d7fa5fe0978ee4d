// One event stream per browser: the tab that holds a lock reads it, and another tab takes over when
// that tab closes. EventSource would not do: it can't tell 401 (the session has ended) from an
// unreachable server, and does not notice a connection that died silently.

import { nameHere, pathOf } from "./addresses.js";

const LOCK = nameHere("quart_app stream");
const FIRST_MS = 10_000; // the server sends something at once, unless a proxy buffers it
const SILENCE_MS = 40_000; // later it sends something every 15 s
const SHORTEST_MS = 1_000;
const LONGEST_MS = 20_000;
const POLL_MS = 5_000;
const AT_ONCE_MS = 100;

const OPENED = Symbol("opened");
const REFUSED = Symbol("refused");
// The answer of a process that stops, on a connection that the browser has kept. It closes the
// connection, so that a next request soon reaches another process.
const STOPPING = Symbol("stopping");

/**
 * Follow the session's events until `signal` is aborted.
 *
 * Calls `opened` when a stream opens and `heard` for each event. Without a stream, calls `ask`
 * regularly, which fetches the session's state.
 */
export async function follow({ opened, heard, ask }, signal) {
  try {
    if (navigator.locks && "BroadcastChannel" in window) {
      await navigator.locks.request(LOCK, { signal }, () => lead({ opened, heard, ask }, signal));
    } else {
      while (!signal.aborted) {
        await pause(POLL_MS, signal);
        await ask();
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function lead(handlers, signal) {
  let failures = 0;
  while (!signal.aborted) {
    const outcome = await read(handlers, signal);
    if (outcome === STOPPING) {
      await pause(AT_ONCE_MS, signal);
      continue;
    }
    if (outcome === OPENED) failures = 0;
    else if (!signal.aborted) await handlers.ask();
    // Random pauses, because all clients reconnect when the server restarts.
    const longest = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** failures++);
    await pause(longest * (0.25 + 0.75 * Math.random()), signal);
  }
}

/** Read a stream to its end; return OPENED, STOPPING or REFUSED. */
async function read({ opened, heard }, signal) {
  const silence = new AbortController();
  let timer;
  const listen = (patience) => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), patience);
  };
  let outcome = REFUSED;
  try {
    listen(FIRST_MS);
    const response = await fetch(pathOf("/api/session_events"), {
      cache: "no-store",
      headers: { Accept: "text/event-stream" },
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (!response.ok) {
      await response.body?.cancel();
      return response.headers.get("Retry-After") === "0" ? STOPPING : REFUSED;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return outcome;
      listen(SILENCE_MS);
      if (outcome !== OPENED) opened();
      outcome = OPENED;
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) dispatch(event, heard);
    }
  } catch {
    return outcome;
  } finally {
    clearTimeout(timer);
  }
}

function dispatch(event, heard) {
  const fields = new Map(event.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
  if (fields.has("event")) heard(fields.get("event"), JSON.parse(fields.get("data")));
}

/** Wait, but stop waiting when the network is back. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(end, milliseconds);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      window.removeEventListener("online", end);
      resolve();
    }
    signal.addEventListener("abort", end);
    window.addEventListener("online", end);
    if (signal.aborted) end();
  });
}
