"use strict";
// The way in to the participant's page: a key, or the one-time code of a card.

(() => {
  const { $ } = me;

  // A browser that follows a link from another site keeps the cookie back, so this door may stand
  // before somebody who is logged in: that is tried once. Whoever is not leaves no key behind.
  const TRIED = "workshop-door";

  async function lookInside() {
    const key = me.key();
    if (!key) return;
    const found = await fetch("/me/events", { method: "HEAD" }).catch(() => null);
    if (found?.ok && !sessionStorage.getItem(TRIED)) {
      sessionStorage.setItem(TRIED, "1");
      location.replace("/me");
    } else if (found?.status === 401 && me.key() === key) me.keep("");
  }

  function fail(text) {
    me.write($("wrong"), text);
    $("wrong").hidden = false;
    $("word").setAttribute("aria-invalid", "true");
  }

  async function enter(event) {
    event.preventDefault();
    const word = $("word").value.trim(), name = $("name").value.trim();
    if (!word) { fail("Type your key, or the code on your card."); $("word").focus(); return; }
    $("go").disabled = true;
    $("wrong").hidden = true;
    $("word").removeAttribute("aria-invalid");
    $("busy").textContent = "One moment …";
    try {
      const found = await me.post("/me/enter", { word, name });
      if (found.ask_name) {
        $("who").hidden = false;
        $("name").required = true;
        $("name").focus();
        return;
      }
      me.keep(found.key || word);
      // The same address, where the page stands now.
      history.replaceState(null, "", found.key ? "/me#new" : "/me");
      location.reload();
    } catch (fault) {
      fail(me.words(fault));
      $("word").focus();
    } finally {
      $("busy").textContent = "";
      $("go").disabled = false;
    }
  }

  $("enter").addEventListener("submit", enter);
  lookInside();
  // Elsewhere a browser drops the cookie, and a code would be used up for nothing.
  if (!window.isSecureContext) {
    fail("This address is not encrypted, so your browser would not keep you logged in. Ask your instructor for the board's address with https.");
    $("go").disabled = true;
  }
})();
