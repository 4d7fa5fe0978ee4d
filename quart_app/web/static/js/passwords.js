// Adds a button to each password field that shows the password.

for (const input of document.querySelectorAll(".password input")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "reveal";
  button.setAttribute("aria-controls", input.id);
  const word = document.createElement("span");
  const label = document.createElement("span");
  label.className = "unseen";
  label.textContent = ` ${input.labels[0].textContent.trim()}`;
  button.append(word, label);
  const isShown = () => input.type === "text";
  const show = (shall) => {
    input.type = shall ? "text" : "password";
    word.textContent = shall ? "Hide" : "Show";
  };
  show(false);
  button.addEventListener("click", () => show(!isShown()));
  // A browser would store the value of a text field for autocompletion.
  input.form.addEventListener("submit", () => show(false));
  input.after(button);
}
