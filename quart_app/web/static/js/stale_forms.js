// A form that was opened for an account that is no longer current: the server would refuse it. The
// page says so first, and nothing that was typed is lost.

import { nameOf } from "./state.js";

const FIELD = 'input[type="hidden"][name="platform_connection_id"]';
const NOBODY = "none"; // what the field holds where the session acted for none
const NOTE = "stale-form";
let current = null;

/** Look at every form of the page; the current account has this id, null for none, and this name. */
export async function lookAtForms(id, name) {
  current = { value: String(id ?? NOBODY), name };
  for (const field of document.querySelectorAll(FIELD)) {
    field.form.querySelector(`.${NOTE}`)?.remove();
    if (field.value !== current.value) await note(field);
  }
}

async function note(field) {
  const asked = current;
  const wasFor = field.value === NOBODY ? null : await nameOf(Number(field.value));
  if (asked !== current || field.value === current.value) return; // switched again meanwhile
  const made = document.createElement("div");
  made.className = `message message-alert ${NOTE}`;
  made.setAttribute("role", "alert");
  made.tabIndex = -1;
  const words = document.createElement("p");
  words.append(
    ...(field.value === NOBODY
      ? ["This form was opened without a current account. "]
      : ["This form was opened for ", isolated(wasFor ?? "another account"), ". "]),
    ...(current.name === null
      ? ["You have no current account."]
      : ["Your current account is ", isolated(current.name), "."]),
  );
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button-plain";
  // One text, for a button's parts would lose the spaces between them.
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
    event.stopImmediatePropagation(); // nobody else need prepare for its being sent
    made.focus();
  },
  { capture: true },
);
