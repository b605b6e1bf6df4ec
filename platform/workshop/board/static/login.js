// Sends the word behind the # of a one-time link, and takes it out of the address and the history.
"use strict";

(async () => {
  const words = document.getElementById("login-words");
  const word = location.hash.slice(1);
  if (!word) {
    return;
  }
  // Elsewhere a browser drops the cookie, and the link would be used up for nothing.
  if (!window.isSecureContext) {
    words.textContent =
      "This address is not encrypted, so your browser would not keep the login. Open the link " +
      "at an https address, or at the board's own address on the server's loopback.";
    return;
  }
  history.replaceState(null, "", location.pathname);
  words.textContent = "Logging in …";
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ word }),
    });
    const said = await answer.json();
    if (answer.ok) {
      location.replace(said.to);
    } else {
      // What stands between backticks is a command.
      words.replaceChildren(
        ...said.error.split("`").map((text, place) => {
          const piece = document.createElement(place % 2 ? "code" : "span");
          piece.textContent = text;
          return piece;
        }),
      );
    }
  } catch {
    words.textContent = "The board did not answer. Load this page again in a moment.";
  }
})();
