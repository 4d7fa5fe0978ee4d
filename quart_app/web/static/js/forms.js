// One submission of a form at a time, and a word about one that takes long.

const SLOW_AFTER_MS = 300;
// Where no browser tells that a navigation was stopped: longer than any answer is waited for.
const GIVE_UP_AFTER_MS = 45_000;

/** What releases each form that is under way, by the form. */
const underWay = new Map();

// After every other script's: one that carries a form out itself has prevented the default by then.
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (underWay.has(form)) {
    event.preventDefault(); // the first goes on
    return;
  }
  underWay.set(form, watch(form, event.submitter ?? form.querySelector("button:not([type=button])")));
});

// What the back button shows may be the very page that was left, with everything as it was.
addEventListener("pageshow", (event) => {
  if (event.persisted) releaseAll();
});

// A navigation that was stopped or failed leaves the page where it is.
globalThis.navigation?.addEventListener("navigateerror", releaseAll);

function releaseAll() {
  for (const release of underWay.values()) release();
  underWay.clear();
}

/** Mark the button as busy, soon, and return what makes it as it was. */
function watch(form, button) {
  const giveUp = setTimeout(releaseAll, GIVE_UP_AFTER_MS);
  if (!button) return () => clearTimeout(giveUp);
  // Not `disabled`: that would take the focus from it, and its value from what is sent.
  button.setAttribute("aria-disabled", "true");
  const words = [...button.childNodes];
  const live = document.createElement("span");
  live.className = "unseen";
  live.setAttribute("aria-live", "polite");
  form.prepend(live); // there it is nobody's :last-child
  const slow = setTimeout(() => {
    const progress = button.dataset.progress;
    live.textContent = progress ?? "One moment …";
    button.dataset.busy = "";
    if (progress) {
      button.style.minWidth = `${button.offsetWidth}px`; // so that nothing moves
      button.replaceChildren(progress);
    }
  }, SLOW_AFTER_MS);
  return () => {
    clearTimeout(giveUp);
    clearTimeout(slow);
    live.remove();
    button.removeAttribute("aria-disabled");
    delete button.dataset.busy;
    button.style.minWidth = "";
    button.replaceChildren(...words);
  };
}
