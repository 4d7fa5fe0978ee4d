// A form that was opened while one acted for another connection: the server would refuse it. The
// page says so before that, and nothing that was typed is lost.

import { nameOf } from "./state.js";

const FIELD = 'input[type="hidden"][name="platform_connection_id"]';
const NOBODY = "none"; // what the field holds where the session acted for none
const NOTE = "stale-form";
let acting = null;

/** Look at every form of the page: for whom one acts now is `id`, null for nobody, of this name. */
export async function lookAtForms(id, name) {
  acting = { value: String(id ?? NOBODY), name };
  for (const field of document.querySelectorAll(FIELD)) {
    field.form.querySelector(`.${NOTE}`)?.remove();
    if (field.value !== acting.value) await note(field);
  }
}

async function note(field) {
  const asked = acting;
  const wasFor = field.value === NOBODY ? null : await nameOf(Number(field.value));
  if (asked !== acting || field.value === acting.value) return; // switched again meanwhile
  const made = document.createElement("div");
  made.className = `message message-alert ${NOTE}`;
  made.setAttribute("role", "alert");
  made.tabIndex = -1;
  const words = document.createElement("p");
  words.append(
    "This form was opened while you acted for ",
    ...named(field.value === NOBODY ? null : (wasFor ?? "another connection")),
    "; you act for ",
    ...named(acting.name),
    " now.",
  );
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button-plain";
  // One text, for a button's parts would lose the spaces between them.
  button.textContent = `Go on, for ${acting.name === null ? "nobody" : `\u2068${acting.name}\u2069`}`;
  button.addEventListener("click", () => {
    field.value = acting.value;
    made.remove();
    field.form.querySelector(":is(input:not([type=hidden]), select, textarea, button)").focus();
  });
  made.append(words, button);
  field.form.querySelector(`.${NOTE}`)?.remove();
  field.form.prepend(made);
}

function named(name) {
  if (name === null) return ["nobody"];
  const isolated = document.createElement("bdi");
  isolated.textContent = name;
  return [isolated];
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
