// Adds a button that copies the text of a field. Without it, users can select the text.

// Without TLS, browsers have no navigator.clipboard.
for (const actions of navigator.clipboard ? document.querySelectorAll("[data-copies]") : []) {
  const field = document.getElementById(actions.dataset.copies);
  const said = document.querySelector(`output[for="${field.id}"]`);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button-main";
  button.textContent = "Copy link";
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      said.value = "Copied.";
    } catch {
      said.value = "Your browser did not allow it. Copy the selected link yourself.";
    }
  });
  actions.prepend(button);
}
