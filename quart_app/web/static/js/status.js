// What a page says to whoever looks at it or listens to it, in its role="status" region.

const SHOWN_SECONDS = 10;
let timer;

/**
 * Say a sentence. It floats over the page, so that nothing moves; a `problem` stays until it is
 * closed or something else is said, all else goes by itself.
 */
export function say(text, { isProblem = false } = {}) {
  const region = document.getElementById("status");
  const message = document.createElement("p");
  message.className = isProblem ? "message message-error said" : "message message-done said";
  message.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.setAttribute("aria-label", "Close"); // its cross is CSS's: the text is what was said
  close.addEventListener("click", () => region.replaceChildren());
  message.append(close);
  region.replaceChildren(message);
  makeWay();
  clearTimeout(timer);
  if (!isProblem) timer = setTimeout(() => message.remove(), SHOWN_SECONDS * 1000);
}

/** Say a sentence where the server's notices stand, unless the server says one itself. */
export function note(text) {
  const region = document.getElementById("status");
  if (region.childElementCount) return;
  const message = document.createElement("p");
  message.className = "message message-done";
  message.textContent = text;
  region.append(message);
}

// What was said once is not said again by the page that the back button brings back.
window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) document.getElementById("status").replaceChildren();
});

// It never lies over what has the focus (WCAG 2.2, 2.4.11): then it goes to the page's other end.

document.addEventListener("focusin", makeWay);

function makeWay() {
  // The browser scrolls to what has the focus after telling of it.
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
