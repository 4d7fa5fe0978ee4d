// Prevents double submission of a form, and shows progress if the answer takes long.

const SLOW_AFTER_MS = 300;
// For browsers that do not report a stopped navigation: longer than any answer may take.
const GIVE_UP_AFTER_MS = 45_000;

/** Functions that release a form that is being submitted, by form. */
const underWay = new Map();

// Must be the last listener: scripts that send a form themselves have prevented the default by now.
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (underWay.has(form)) {
    event.preventDefault(); // the first submission continues
    return;
  }
  underWay.set(form, watch(form, event.submitter ?? form.querySelector("button:not([type=button])")));
});

// The back button may restore a page with its forms still marked as being submitted.
addEventListener("pageshow", (event) => {
  if (event.persisted) releaseAll();
});

// After a stopped or failed navigation, the page stays.
globalThis.navigation?.addEventListener("navigateerror", releaseAll);

function releaseAll() {
  for (const release of underWay.values()) release();
  underWay.clear();
}

/** Mark the button as busy after a short time; return a function that restores it. */
function watch(form, button) {
  const giveUp = setTimeout(releaseAll, GIVE_UP_AFTER_MS);
  if (!button) return () => clearTimeout(giveUp);
  // Not `disabled`: the button would lose the focus, and its value would not be sent.
  button.setAttribute("aria-disabled", "true");
  const words = [...button.childNodes];
  const live = document.createElement("span");
  live.className = "unseen";
  live.setAttribute("aria-live", "polite");
  form.prepend(live); // not appended, because styles use :last-child
  const slow = setTimeout(() => {
    const progress = button.dataset.progress;
    live.textContent = progress ?? "One moment …";
    button.dataset.busy = "";
    if (progress) {
      button.style.minWidth = `${button.offsetWidth}px`; // so that the layout does not shift
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
