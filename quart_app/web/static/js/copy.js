// A button that copies what stands in a field. Without this it stays hidden; the text can be selected.

for (const button of document.querySelectorAll("[data-copies]")) {
  const field = document.getElementById(button.dataset.copies);
  const said = document.querySelector(`output[for="${field.id}"]`);
  button.hidden = !navigator.clipboard; // on an address without TLS there is none
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      said.value = "Copied.";
    } catch {
      said.value = "Your browser does not allow it: the link is selected, copy it yourself.";
    }
  });
}
