// What the tabs of one browser tell each other. They share its cookies, and so its session.

const NAME = "quart_app session";
let channel = null;
let listener = () => {};

/** Let `listener` hear what other tabs tell, from now on and again after `close`. */
export function open(hear) {
  listener = hear;
  if (!("BroadcastChannel" in window) || channel) return;
  channel = new BroadcastChannel(NAME);
  channel.addEventListener("message", ({ data }) => listener(data));
}

export function tell(kind, detail = {}) {
  channel?.postMessage({ kind, ...detail });
}

export function close() {
  channel?.close();
  channel = null;
}
