// Warns about forms that were opened with another current account, which the server would refuse. The
// user can continue with the new account, and keeps the input.

import { nameOf } from "./state.js";

const FIELD = 'input[type="hidden"][name="platform_connection_id"]';
const NO_ACCOUNT = "none"; // the field's value if there was no current account
const NOTE = "stale-form";
let current = null;

/** Check all forms of the page; `id` and `name` are the current account's, or null. */
export async function lookAtForms(id, name) {
  current = { value: String(id ?? NO_ACCOUNT), name };
  for (const field of document.querySelectorAll(FIELD)) {
    field.form.querySelector(`.${NOTE}`)?.remove();
    if (field.value !== current.value) await note(field);
  }
}

async function note(field) {
  const asked = current;
  const wasFor = field.value === NO_ACCOUNT ? null : await nameOf(Number(field.value));
  if (asked !== current || field.value === current.value) return; // the user has switched again
  const made = document.createElement("div");
  made.className = `message message-alert ${NOTE}`;
  made.setAttribute("role", "alert");
  made.tabIndex = -1;
  const words = document.createElement("p");
  words.append(
    ...(field.value === NO_ACCOUNT
      ? ["This form was opened without a current account. "]
      : ["This form was opened for ", isolated(wasFor ?? "another account"), ". "]),
    ...(current.name === null
      ? ["You have no current account."]
      : ["Your current account is ", isolated(current.name), "."]),
  );
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button-plain";
  // A single text node, because the button's flex layout drops the spaces between elements.
  button.textContent =
    current.name === null ? "Continue without an account" : `Continue with \u2068${current.name}\u2069`;
  button.addEventListener("click", () => {
    field.value = current.value;
    made.remove();
    field.form.querySelector(":is(input:not([type=hidden]), select, textarea, button)").focus();
  });
  made.append(words, button);
  field.form.querySelector(`.${NOTE}`)?.remove();
  field.form.prepend(made);
}

function isolated(name) {
  const made = document.createElement("bdi");
  made.textContent = name;
  return made;
}

document.addEventListener(
  "submit",
  (event) => {
    const made = event.target.querySelector(`.${NOTE}`);
    if (!made) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // other listeners must not treat it as submitted
    made.focus();
  },
  { capture: true },
);
