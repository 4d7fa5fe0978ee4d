// Messages between the tabs of a browser, which share its cookies and so its session.

import { nameHere } from "./addresses.js";

const NAME = nameHere("quart_app session");
let channel = null;
let listener = () => {};

/** Call `onMessage` with the messages of other tabs; call this again after `close`. */
export function open(onMessage) {
  listener = onMessage;
  if (!("BroadcastChannel" in window) || channel) return;
  channel = new BroadcastChannel(NAME);
  channel.addEventListener("message", ({ data }) => listener(data));
}

export function send(kind, detail = {}) {
  channel?.postMessage({ kind, ...detail });
}

export function close() {
  channel?.close();
  channel = null;
}
