// The account switcher in the header: keyboard, search, and switching without a page load. Without
// scripts, the same markup opens, and its forms return to the page.

import { pathOf } from "./addresses.js";
import { pageAt, refresh } from "./refresh.js";
import { say } from "./status.js";

const TIMEOUT_MS = 10_000;
const TYPING_PAUSE_MS = 200; // before a search on the server
const ITEMS = "button.switcher-row"; // accounts that are switched off are not buttons
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
}, { capture: true }); // before the listeners for all forms

async function switchTo(id, button) {
  if (isBusy) return;
  isBusy = true;
  button?.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(pathOf(`/api/platforms/${id}/switch`), {
      method: "POST",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status === 401) return leaveForLogin();
    if (!response.ok) throw new Error(await sentenceOf(response));
    close();
    switched(id);
  } catch (error) {
    close();
    // fetch throws a TypeError, or a DOMException at the timeout.
    const why = error.constructor === Error ? error.message : "quart_app can’t be reached.";
    say(`${why} ${currentAccount()}`, { isProblem: true });
    if (error.constructor === Error) await refresh(); // the page was out of date
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
  location.assign(`${pathOf("/login")}?next=${encodeURIComponent(here)}`);
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
  await refreshPage();
}

/** Mark the current account at once, with the elements on the page; return its name. */
function mark(id) {
  document.body.dataset.platformConnectionId = id;
  const row = panel().querySelector(`.switcher-row[data-id="${id}"]`);
  panel().querySelector("[aria-current]")?.removeAttribute("aria-current");
  row?.setAttribute("aria-current", "true");
  const badge = panel().querySelector(".badge-current");
  if (badge) row?.querySelector(".badges").prepend(badge);
  const who = row?.querySelector(".who");
  if (who) opener().querySelector(".who").replaceWith(who.cloneNode(true));
  // If the account is not in the header's list, find its name on the page.
  return nameIn(row) ?? document.querySelector(`[data-switch="${id}"]`)?.closest("li")
    ?.querySelector("bdi:not([aria-hidden] *)")?.textContent ?? "another account";
}

async function refreshPage() {
  if (!(await refresh())) {
    say("This page could not be updated. Reload it.", { isProblem: true });
  }
}

// Another tab has switched, or the user's accounts have changed.
document.addEventListener("session:switched-elsewhere", ({ detail }) => {
  mark(detail.platform_connection_id);
  refreshPage();
});
document.addEventListener("session:platforms-changed", refreshWhenVisible);

async function refreshWhenVisible() {
  if (document.hidden) {
    // Hidden tabs wait until they are visible, so that not all tabs ask the server at once.
    document.addEventListener("visibilitychange", refreshWhenVisible, { once: true });
    return;
  }
  const was = nameIn(opener());
  await refresh();
  if (was && !nameIn(opener())) say(`${was} was removed or switched off. Choose another account.`);
}

// --- opening and keyboard ---

// Toggle events don't bubble, and `refresh` may replace the panel, so listen on the document.
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
  // On touch screens, focusing the search would open a keyboard that covers the list.
  (search() && matchMedia("(hover: hover)").matches ? search() : current ?? items()[0] ??
    panel().querySelector("a")).focus();
}, { capture: true });

function close() {
  if (!panel().matches(":popover-open")) return;
  panel().hidePopover();
  opener().focus();
}

/** Make this the only item that Tab reaches (roving tabindex). */
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
    event.preventDefault(); // without scripts, Enter opens the search page
    enter();
  } else if (to) {
    event.preventDefault();
    if (event.key === "Escape") close();
    else rove(to);
  } else if (search() && !isSearch && event.key.length === 1 && event.key !== " ") {
    search().focus(); // the search field receives the key
  }
}

/** After the search has finished, choose its only result, or focus the first of several. */
async function enter() {
  const awaited = latest;
  if (finding && !(await finding)) return;
  if (awaited !== latest) return; // another search has started
  const list = items();
  if (list.length === 1) list[0].click();
  else if (list.length) rove(list[0]);
}

// Close the panel when the focus leaves it.
document.addEventListener("focusout", ({ target, relatedTarget }) => {
  if (!panel()?.contains(target) || !relatedTarget) return;
  if (!panel().contains(relatedTarget)) panel().hidePopover();
});

// --- search ---

// Ignore accents and case: "cafe" finds "Café".
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
  announceResults(results(number));
}

const results = (number) => `${number || "No"} result${number === 1 ? "" : "s"}`;

function announceResults(words) {
  document.getElementById("switcher-found").textContent = words;
  if (!items().some((item) => item.tabIndex === 0)) rove(items()[0], { focus: false });
}

// If the page has only some of the user's accounts, the server searches all of them.

const PARTS = ["list", "more"];
const partsOf = (page, prefix) => PARTS.map((part) => page?.getElementById(`${prefix}-${part}`));
let first = null; // the panel, and its parts before the first search
let finding = null; // the promise of a running search
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
    announceResults("");
    return;
  }
  finding = new Promise((resolve) => setTimeout(resolve, TYPING_PAUSE_MS))
    .then(() => number === latest && ask(number))
    .finally(() => {
      if (number === latest) finding = null;
    });
}

/** Search on the server; return whether the list shows the results. */
async function ask(number) {
  const address = `${search().form.action}?${new URLSearchParams(new FormData(search().form))}`;
  const { page, address: answered } = await pageAt(address, { isUnattended: false });
  if (number !== latest || !search()) return false;
  if (answered && new URL(answered).pathname === pathOf("/login")) return leaveForLogin();
  const parts = partsOf(page, "found");
  if (!parts.every(Boolean)) {
    announceResults("quart_app can’t be reached.");
    return false;
  }
  showParts(parts);
  const shown = panel().querySelectorAll(".switcher-row").length;
  const hasMore = parts[1].querySelector("a");
  announceResults(hasMore ? `First ${results(shown)}` : results(shown));
  return true;
}

function showParts(parts) {
  for (const [i, old] of partsOf(document, "switcher").entries()) {
    const { id } = old;
    old.replaceWith(parts[i]);
    parts[i].id = id;
  }
}
