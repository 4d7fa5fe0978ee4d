// The switcher in the header: keys, the search, and switching in place. Without it the same markup
// opens, and its forms lead back to the page.

import { pageAt, refresh } from "./refresh.js";
import { say } from "./status.js";

const PATIENCE_MS = 10_000;
const PAUSE_MS = 200; // between keys, before the server is asked
const ITEMS = "button.switcher-row"; // those switched off are none
let isBusy = false;

const panel = () => document.getElementById("switcher-panel");
const opener = () => document.getElementById("switcher-button");
const search = () => document.getElementById("switcher-search");
const items = () => [...panel().querySelectorAll(ITEMS)].filter((item) => item.offsetParent);

// --- switching ---

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-switch]");
  if (!form) return;
  event.preventDefault();
  switchTo(Number(form.dataset.switch), event.submitter);
}, { capture: true }); // before what looks at every form

async function switchTo(id, button) {
  if (isBusy) return;
  isBusy = true;
  button?.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(`/api/platforms/${id}/switch`, {
      method: "POST",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.status === 401) return leaveForLogin();
    if (!response.ok) throw new Error(await sentenceOf(response));
    close();
    switched(id);
  } catch (error) {
    close();
    // What fetch itself throws is a TypeError or, in time, a DOMException.
    const why = error.constructor === Error ? error.message : "quart_app can’t be reached.";
    say(`${why} ${currentAccount()}`, { isProblem: true });
    if (error.constructor === Error) await refresh(); // what is shown was not so
  } finally {
    isBusy = false;
    button?.removeAttribute("aria-busy");
  }
}

async function sentenceOf(response) {
  try {
    return (await response.json()).title;
  } catch {
    return "Something went wrong.";
  }
}

function leaveForLogin() {
  const here = location.pathname + location.search;
  location.assign(`/login?next=${encodeURIComponent(here)}`);
}

const nameIn = (element) => element?.querySelector("strong bdi")?.textContent;

function currentAccount() {
  const name = nameIn(opener());
  return name ? `Current account: ${name}` : "No current account.";
}

async function switched(id) {
  const name = mark(id);
  say(`Switched to ${name}`);
  document.dispatchEvent(
    new CustomEvent("session:switched", { detail: { platform_connection_id: id, name } }),
  );
  await bringUpToDate();
}

/** Mark the current connection at once, by what is there; return its name. */
function mark(id) {
  document.body.dataset.platformConnectionId = id;
  const row = panel().querySelector(`.switcher-row[data-id="${id}"]`);
  panel().querySelector("[aria-current]")?.removeAttribute("aria-current");
  row?.setAttribute("aria-current", "true");
  const badge = panel().querySelector(".badge-current");
  if (badge) row?.querySelector(".badges").prepend(badge);
  const who = row?.querySelector(".who");
  if (who) opener().querySelector(".who").replaceWith(who.cloneNode(true));
  // One that the header's list had no room for stands on the page.
  return nameIn(row) ?? document.querySelector(`[data-switch="${id}"]`)?.closest("li")
    ?.querySelector("bdi:not([aria-hidden] *)")?.textContent ?? "another account";
}

async function bringUpToDate() {
  if (!(await refresh())) {
    say("This page could not be updated. Reload it.", { isProblem: true });
  }
}

// Another tab of this browser has switched; or the connections have changed, wherever.
document.addEventListener("session:switched-elsewhere", ({ detail }) => {
  mark(detail.platform_connection_id);
  bringUpToDate();
});
document.addEventListener("session:platforms-changed", keepUp);

async function keepUp() {
  if (document.hidden) {
    // Once it is looked at: of twenty tabs, nineteen need not ask the server at the same moment.
    document.addEventListener("visibilitychange", keepUp, { once: true });
    return;
  }
  const was = nameIn(opener());
  await refresh();
  if (was && !nameIn(opener())) say(`${was} was removed or switched off. Choose another account.`);
}

// --- opening, and where the keys lead ---

// These don't bubble, and the panel may be another by now.
document.addEventListener("toggle", (event) => {
  if (event.target !== panel()) return;
  const isOpen = event.newState === "open";
  opener().setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) return;
  if (search()) search().value = "";
  find();
  const current = panel().querySelector(`${ITEMS}[aria-current]`);
  rove(current ?? items()[0], { focus: false });
  current?.scrollIntoView({ block: "nearest" });
  // A keyboard on the screen would cover what it is for.
  (search() && matchMedia("(hover: hover)").matches ? search() : current ?? items()[0] ??
    panel().querySelector("a")).focus();
}, { capture: true });

function close() {
  if (!panel().matches(":popover-open")) return;
  panel().hidePopover();
  opener().focus();
}

/** Let Tab come to this item and to no other. */
function rove(item, { focus = true } = {}) {
  for (const each of panel().querySelectorAll(ITEMS)) each.tabIndex = each === item ? 0 : -1;
  if (focus) item?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  if (event.target === opener() && event.key === "ArrowDown") {
    event.preventDefault();
    if (!panel().matches(":popover-open")) panel().showPopover({ source: opener() });
  } else if (panel()?.contains(event.target)) {
    inPanel(event);
  }
});

function inPanel(event) {
  const list = items();
  const at = list.indexOf(event.target);
  const isSearch = event.target === search();
  const to = {
    ArrowDown: () => list[(at + 1) % list.length],
    ArrowUp: () => list[at > 0 ? at - 1 : list.length - 1],
    Home: () => (isSearch ? null : list[0]),
    End: () => (isSearch ? null : list.at(-1)),
    Escape: () => opener(),
  }[event.key]?.();
  if (isSearch && event.key === "Enter") {
    event.preventDefault(); // without scripts it leads to a page
    enter();
  } else if (to) {
    event.preventDefault();
    if (event.key === "Escape") close();
    else rove(to);
  } else if (search() && !isSearch && event.key.length === 1 && event.key !== " ") {
    search().focus(); // and there the key is typed
  }
}

/** Choose what was found, once that is known: never another than the one that was meant. */
async function enter() {
  const awaited = latest;
  if (finding && !(await finding)) return;
  if (awaited !== latest) return; // something else is sought by now
  const list = items();
  if (list.length === 1) list[0].click();
  else if (list.length) rove(list[0]);
}

// Whoever leaves with Tab leaves it closed.
document.addEventListener("focusout", ({ target, relatedTarget }) => {
  if (!panel()?.contains(target) || !relatedTarget) return;
  if (!panel().contains(relatedTarget)) panel().hidePopover();
});

// --- finding ---

// Without marks and case: "cafe" finds "Café".
const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

document.addEventListener("input", ({ target }) => target === search() && find());

function find() {
  if (!search()) return;
  if ("hasMore" in search().form.dataset) findOnServer();
  else findHere();
}

function findHere() {
  const sought = folded(search().value.trim());
  let number = 0;
  for (const row of panel().querySelectorAll(".switcher-row")) {
    const isFound = folded(row.querySelector(".who-words").textContent).includes(sought);
    row.closest("li").hidden = !isFound;
    number += isFound;
  }
  tellFound(results(number));
}

const results = (number) => `${number || "No"} result${number === 1 ? "" : "s"}`;

function tellFound(words) {
  document.getElementById("switcher-found").textContent = words;
  if (!items().some((item) => item.tabIndex === 0)) rove(items()[0], { focus: false });
}

// The page holds only the first of many connections; the server searches all of them.

const PARTS = ["list", "more"];
const partsOf = (page, prefix) => PARTS.map((part) => page?.getElementById(`${prefix}-${part}`));
let first = null; // the parts as the page came, and whose panel they are
let finding = null; // a search that is under way
let latest = 0;

function findOnServer() {
  const number = ++latest;
  const sought = search().value.trim();
  if (first?.panel !== panel()) {
    first = { panel: panel(), parts: partsOf(document, "switcher") };
  }
  if (!sought) {
    finding = null;
    showParts(first.parts);
    tellFound("");
    return;
  }
  finding = new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    .then(() => number === latest && ask(number))
    .finally(() => {
      if (number === latest) finding = null;
    });
}

/** Return whether the list is now what was found. */
async function ask(number) {
  const address = `${search().form.action}?${new URLSearchParams(new FormData(search().form))}`;
  const { page, address: answered } = await pageAt(address, { isUnattended: false });
  if (number !== latest || !search()) return false;
  if (answered && new URL(answered).pathname === "/login") return leaveForLogin();
  const parts = partsOf(page, "found");
  if (!parts.every(Boolean)) {
    tellFound("quart_app can’t be reached.");
    return false;
  }
  showParts(parts);
  const shown = panel().querySelectorAll(".switcher-row").length;
  const hasMore = parts[1].querySelector("a");
  tellFound(hasMore ? `First ${results(shown)}` : results(shown));
  return true;
}

function showParts(parts) {
  for (const [i, old] of partsOf(document, "switcher").entries()) {
    const { id } = old;
    old.replaceWith(parts[i]);
    parts[i].id = id;
  }
}
