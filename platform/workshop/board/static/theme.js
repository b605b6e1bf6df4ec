// Remembers the reader's choice of light or dark in a cookie, so that the next page comes in it.
// Any element with data-theme-choice="light", "dark" or "" (as the system has it) is a switch.
"use strict";

(() => {
  const root = document.documentElement;
  const YEAR = 365 * 24 * 3600;

  function choose(theme) {
    if (theme) {
      root.dataset.theme = theme;
    } else {
      delete root.dataset.theme;
    }
    const age = theme ? YEAR : 0;
    document.cookie = `workshop-theme=${theme}; Path=/; SameSite=Strict; Max-Age=${age}`;
    show();
  }

  function show() {
    for (const one of document.querySelectorAll("[data-theme-choice]")) {
      one.setAttribute("aria-pressed", String(one.dataset.themeChoice === (root.dataset.theme || "")));
    }
    for (const one of document.querySelectorAll("[data-theme-toggle]")) {
      one.setAttribute("aria-pressed", String(dark()));
    }
  }

  function dark() {
    const asked = root.dataset.theme;
    return asked ? asked === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // One button that changes between the two carries data-theme-toggle.
  document.addEventListener("click", (event) => {
    const choice = event.target.closest("[data-theme-choice]");
    if (choice) {
      choose(choice.dataset.themeChoice);
    } else if (event.target.closest("[data-theme-toggle]")) {
      choose(dark() ? "light" : "dark");
    }
  });
  show();
})();
