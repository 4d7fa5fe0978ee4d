// Keeps "3 minutes ago" true while a page stays open. The server wrote it, and the exact time
// beside it; its clock is what counts, be this machine's right or wrong.

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

/** The words for a moment, of so many seconds ago; of the future where they are negative. */
export function ago(seconds) {
  for (const [unit, length] of UNITS) {
    const number = Math.floor(Math.abs(seconds) / length);
    if (number === 0) continue;
    const words = number === 1 ? `1 ${unit}` : `${number} ${unit}s`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }
  return "just now";
}

function tell() {
  const now = servedAt + (Date.now() - readAt);
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const words = ago((now - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== words) time.textContent = words;
  }
}

setInterval(tell, EVERY_SECONDS * 1000);
document.addEventListener("visibilitychange", () => document.hidden || tell());
