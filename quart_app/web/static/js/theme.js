// Applies the theme that the user chose; the default is the system's. Not a module, and in <head>, so
// that it runs before the first paint.
"use strict";

(() => {
  const KEY = "theme";
  const THEMES = ["light", "dark"];
  const WORDS = [["system", "System"], ["light", "Light"], ["dark", "Dark"]];
  const root = document.documentElement;

  // Throws if storage is disabled.
  function chosen() {
    try {
      const theme = localStorage.getItem(KEY);
      return THEMES.includes(theme) ? theme : "system";
    } catch {
      return "system";
    }
  }

  function choose(theme) {
    try {
      if (THEMES.includes(theme)) localStorage.setItem(KEY, theme);
      else localStorage.removeItem(KEY);
    } catch {
      // Without storage, the choice lasts for this page only.
    }
    show(theme);
  }

  function show(theme) {
    if (THEMES.includes(theme)) root.dataset.theme = theme;
    else delete root.dataset.theme;
    const control = document.getElementById("theme");
    if (control) control.value = theme;
  }

  function addControl() {
    const row = document.createElement("div");
    row.className = "theme";
    const label = document.createElement("label");
    label.htmlFor = "theme";
    label.textContent = "Theme";
    const select = document.createElement("select");
    select.id = "theme";
    select.autocomplete = "off";
    select.append(...WORDS.map(([value, words]) => new Option(words, value)));
    row.append(label, select);
    document.querySelector("footer").append(row);
  }

  show(chosen());
  root.dataset.scripts = "on";
  document.addEventListener("DOMContentLoaded", () => {
    addControl();
    show(chosen());
  });
  document.addEventListener("change", ({ target }) => {
    if (target.id === "theme") choose(target.value);
  });
  // The theme was chosen in another tab.
  window.addEventListener("storage", ({ key }) => {
    if (key === KEY || key === null) show(chosen());
  });
})();
