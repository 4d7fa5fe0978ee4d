// Messages in the page's role="status" region, which is visible and read by screen readers.

const SHOWN_SECONDS = 10;
let timer;

/**
 * Show a message that floats over the page. It disappears after a while; a problem stays until it is
 * closed or replaced.
 */
export function say(text, { isProblem = false } = {}) {
  const region = document.getElementById("status");
  const message = document.createElement("p");
  message.className = isProblem ? "message message-error said" : "message message-done said";
  message.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.setAttribute("aria-label", "Close"); // CSS draws the cross
  close.addEventListener("click", () => region.replaceChildren());
  message.append(close);
  region.replaceChildren(message);
  makeWay();
  clearTimeout(timer);
  if (!isProblem) timer = setTimeout(() => message.remove(), SHOWN_SECONDS * 1000);
}

/** Show a message in the place of the server's notices, unless there is one. */
export function note(text) {
  const region = document.getElementById("status");
  if (region.childElementCount) return;
  const message = document.createElement("p");
  message.className = "message message-done";
  message.textContent = text;
  region.append(message);
}

// When the back button restores a page, remove its old message.
window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) document.getElementById("status").replaceChildren();
});

// The message must not cover the focused element (WCAG 2.2, 2.4.11). If it does, it moves to the
// other end of the page.

document.addEventListener("focusin", makeWay);

function makeWay() {
  // The browser scrolls to the focused element after this event.
  requestAnimationFrame(() => {
    const message = document.querySelector(".said");
    const focused = document.activeElement;
    if (!message || focused.matches("body, main") || message.contains(focused)) return;
    const [over, under] = [message, focused].map((each) => each.getBoundingClientRect());
    if (over.top < under.bottom && under.top < over.bottom &&
        over.left < under.right && under.left < over.right) {
      message.classList.toggle("said-above");
    }
  });
}
