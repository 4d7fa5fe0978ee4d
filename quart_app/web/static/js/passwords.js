// A button beside each password that shows what was typed. Without scripts there is none.

for (const button of document.querySelectorAll("button.reveal")) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  const word = button.firstElementChild;
  const isShown = () => input.type === "text";
  const turn = () => {
    input.type = isShown() ? "password" : "text";
    word.textContent = isShown() ? "Hide" : "Show";
  };
  button.addEventListener("click", turn);
  // As text a browser would remember it among the things once typed.
  input.form.addEventListener("submit", () => isShown() && turn());
  button.hidden = false;
}
