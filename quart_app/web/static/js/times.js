// Updates relative times ("3 minutes ago") while a page is open. They are computed from the server's
// clock, because the clock of this machine may be wrong.

const MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR; // in seconds
// The same words as in rendering/template_filters.py.
const UNITS = [
  ["year", 365.2425 * DAY],
  ["month", (365.2425 * DAY) / 12],
  ["day", DAY],
  ["hour", HOUR],
  ["minute", MINUTE],
];
const EVERY_SECONDS = 10;

const servedAt = Date.parse(document.body.dataset.servedAt);
const readAt = Date.now();

/** Return a relative time in words; negative seconds are in the future. */
export function ago(seconds) {
  for (const [unit, length] of UNITS) {
    const number = Math.floor(Math.abs(seconds) / length);
    if (number === 0) continue;
    const words = number === 1 ? `1 ${unit}` : `${number} ${unit}s`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }
  return "just now";
}

function update() {
  const now = servedAt + (Date.now() - readAt);
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const words = ago((now - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== words) time.textContent = words;
  }
}

setInterval(update, EVERY_SECONDS * 1000);
document.addEventListener("visibilitychange", () => document.hidden || update());
