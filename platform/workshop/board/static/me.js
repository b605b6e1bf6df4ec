"use strict";
// The participant's page: what changes is streamed in, what is asked for is posted, and the key
// stays in this browser alone. Other scripts of the page use `me`.

const me = (() => {
  const $ = (id) => document.getElementById(id);
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
  const KEY = "workshop-key";
  // Storage ends with the session: the way in, and the way out, empty it. Where a browser forbids
  // storage, the key is good until the page is left.
  let held = "";
  const stored = (change) => { try { return change(localStorage); } catch { return null; } };
  const key = () => held || (held = stored((place) => place.getItem(KEY)) || "");
  const keep = (value) => {
    held = value;
    stored((place) => (value ? place.setItem(KEY, value) : place.removeItem(KEY)));
  };

  async function post(address, content) {
    const answer = await fetch(address, {
      method: "POST",
      credentials: "same-origin",
      headers: {
        "content-type": "application/json", accept: "application/json", "x-csrf-token": meta("csrf-token"),
      },
      body: JSON.stringify(content ?? {}),
    });
    return read(answer);
  }

  async function read(answer) {
    let found = {};
    try { found = await answer.json(); } catch { /* an empty answer, or somebody else's */ }
    // The session has ended: the way in stands at the same address.
    if (answer.status === 401 && $("mine")) location.reload();
    if (!answer.ok) throw new Error(found.error || `The board answered ${answer.status}. Try again.`);
    return found;
  }

  // A fault of the network has no words for people.
  const words = (fault) => fault instanceof TypeError
    ? "The board cannot be reached right now. Try again in a moment." : fault.message;

  // What stands between backticks is code, here as on the server.
  function write(place, text) {
    place.replaceChildren(...text.split("`").map((part, index) => {
      if (index % 2 === 0) return part;
      const code = document.createElement("code");
      code.textContent = part;
      return code;
    }));
  }

  let quiet = 0;
  function say(text, kind = "") {
    const toast = $("toast");
    write(toast.firstElementChild, text);
    toast.className = `toast ${kind}`;
    clearTimeout(quiet);
    // What went wrong stays until something else is said.
    if (kind === "good") quiet = setTimeout(() => { toast.className = "toast over"; }, 8000);
  }

  const pause = (milliseconds) => new Promise((go) => { setTimeout(go, milliseconds); });
  return { $, key, keep, post, read, words, write, say, pause };
})();

(() => {
  const { $ } = me;
  if (!$("mine")) return;
  try { sessionStorage.clear(); } catch { /* there is none */ }

  // -- moments ---------------------------------------------------------------------------------

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  // As the server writes it.
  function ago(seconds) {
    const found = UNITS.find(([size]) => seconds >= size);
    return found ? `${Math.floor(seconds / found[0])} ${found[1]} ago` : "just now";
  }

  function age(within) {
    for (const moment of within.querySelectorAll("[data-at]")) {
      const at = new Date(moment.dataset.at * 1000), passed = ago((Date.now() - at) / 1000);
      moment.textContent = "lasts" in moment.dataset ? passed.replace(/^(.*) ago$/, "for $1") : passed;
      moment.title = at.toLocaleString();
    }
  }

  // -- what is streamed in ---------------------------------------------------------------------

  // The server escapes whatever is foreign before it sends a piece of the page.
  function swap(id, html) {
    const place = $(id), piece = document.createElement("template");
    piece.innerHTML = html;
    age(piece.content);
    // A stream that begins anew repeats what is there; nothing is to be read out again for that.
    if (piece.content.textContent === place.textContent && id !== "deploys") return;
    const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
    const known = new Map([...place.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
    place.replaceChildren(piece.content);
    for (const one of place.querySelectorAll("details[id]")) {
      if (known.has(one.id)) one.open = known.get(one.id);
    }
    if (focused) $(focused)?.focus();
    if (id === "says") hideHeard();
  }

  let live = null, lines = null, cutSince = 0, again = 0;

  function listen() {
    clearTimeout(again);
    live?.close();
    live = new EventSource("/me/events");
    live.onopen = () => {
      cutSince = 0;
      tellCut();
      if (lines?.readyState === EventSource.CLOSED) listenToLog();
    };
    live.onerror = () => {
      cutSince ||= Date.now();
      tellCut();
      // A browser tries again by itself, but not after an answer that is no stream: the session may
      // have ended, which any other question finds out.
      if (live.readyState === EventSource.CLOSED) again = setTimeout(lookAgain, 3000);
    };
    for (const name of ["app", "deploys", "models", "says", "hand"]) {
      live.addEventListener(name, (event) => { if ($(name)) swap(name, event.data); });
    }
  }

  // The log is fetched from the app's container only while somebody looks.
  function listenToLog() {
    lines?.close();
    lines = null;
    if (!$("log").open || document.hidden) return;
    lines = new EventSource("/me/log");
    lines.addEventListener("log", (event) => showLog(JSON.parse(event.data), false));
    lines.addEventListener("more", (event) => showLog(JSON.parse(event.data), true));
  }

  async function lookAgain() {
    try {
      const answer = await fetch("/me/events", { method: "HEAD" });
      if (answer.status === 401) { location.reload(); return; }
    } catch { /* still cut off */ }
    listen();
  }

  function tellCut() {
    const line = $("cut");
    line.hidden = !cutSince;
    if (cutSince) {
      line.textContent = `Not live since ${new Date(cutSince).toLocaleTimeString()}: the board cannot be`
        + " reached. This page tries again by itself.";
    }
  }

  // -- the log ---------------------------------------------------------------------------------

  const LINES = 300;

  function showLog(lines, more) {
    const place = $("lines");
    const follows = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
    const kept = more && place.textContent ? place.textContent.split("\n") : [];
    const all = [...kept, ...lines].slice(-LINES);
    place.textContent = all.join("\n");
    $("no-lines").hidden = all.length > 0;
    place.hidden = !all.length;
    if (follows || !more) place.scrollTop = place.scrollHeight;
  }

  // -- the key ---------------------------------------------------------------------------------

  let shown = location.hash === "#new";
  const DOTS = "wk-••••••••••••";

  function showKey() {
    const key = me.key();
    for (const place of document.querySelectorAll("[data-key]")) {
      place.textContent = shown && key ? key : place.id === "key" ? DOTS : "KEY";
    }
    $("has-key").hidden = !key;
    $("no-key").hidden = Boolean(key);
    $("show-key").firstChild.data = shown ? "Hide" : "Show";
  }

  // What is copied holds the key even while the page does not show it.
  function text(place) {
    const copy = place.cloneNode(true);
    const slots = copy.matches("[data-key]") ? [copy] : copy.querySelectorAll("[data-key]");
    for (const slot of slots) slot.textContent = me.key() || "KEY";
    return copy.textContent.trim();
  }

  async function copied(content) {
    if (navigator.clipboard) {
      try { await navigator.clipboard.writeText(content); return true; } catch { /* the old way */ }
    }
    const area = document.createElement("textarea");
    area.value = content;
    area.className = "visually-hidden";
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  async function copy(button) {
    const place = $(button.dataset.copy);
    const done = await copied(place.href ?? text(place));
    button.focus();
    if (!done) { me.say("This browser does not let the page copy. Select the text and copy it yourself.", "bad"); return; }
    const keyless = !me.key() && place.querySelector?.("[data-key]");
    me.say(keyless ? "Copied, with KEY where your key belongs." : "Copied.", "good");
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  }

  async function enterKey(event) {
    event.preventDefault();
    try {
      await me.post("/me/key", { key: $("again").value.trim() });
      me.keep($("again").value.trim());
      $("again").value = "";
      showKey();
      me.say("Your key is here again.", "good");
      $("show-key").focus();
    } catch (fault) { me.say(me.words(fault), "bad"); }
  }

  // -- what is asked for -----------------------------------------------------------------------

  const DOING = { restart: "Restarting …", reset: "Starting afresh …", rollback: "Going back …" };
  const PATIENCE = 120000;

  async function wish(button, content) {
    button.setAttribute("aria-disabled", "true");
    me.say(DOING[content.what]);
    try {
      const { id } = await me.post("/me/wishes", content);
      const answer = await answered(id);
      me.say(answer.words, answer.done ? "good" : "bad");
    } catch (fault) {
      me.say(me.words(fault), "bad");
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  async function answered(id) {
    const end = Date.now() + PATIENCE;
    while (Date.now() < end) {
      // A board that is away for a moment has lost neither the question nor the answer.
      const answer = await fetch(`/me/answers/${id}`, { headers: { accept: "application/json" } }).catch(() => null);
      const found = answer ? await me.read(answer) : {};
      if (found.over) return found;
      await me.pause(400);
    }
    return { done: false, words: "That takes longer than anybody waits here. It may still happen: look at the state above." };
  }

  function asked(button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    const content = { what: button.dataset.wish, text: button.dataset.text || "" };
    if (content.what === "reset") {
      $("sure").returnValue = "";
      $("sure").onclose = () => { if ($("sure").returnValue === "yes") wish(button, content); };
      $("sure").showModal();
    } else wish(button, content);
  }

  async function raise(button) {
    const up = button.getAttribute("aria-pressed") !== "true";
    try {
      await me.post("/me/hand", { up });
      me.say(up ? "Your hand is up. Your instructor sees it." : "Your hand is down.", "good");
    } catch (fault) { me.say(me.words(fault), "bad"); }
  }

  async function leave() {
    try { await me.post("/me/leave"); } catch (fault) { me.say(me.words(fault), "bad"); return; }
    me.keep("");
    location.assign("/me");
  }

  // -- what the instructor says ----------------------------------------------------------------

  const HEARD = "workshop-heard";
  const heard = () => { try { return localStorage.getItem(HEARD); } catch { return null; } };

  function hideHeard() {
    const said = document.querySelector("[data-said]");
    if (said) said.hidden = said.dataset.said === heard();
  }

  function hear() {
    const said = document.querySelector("[data-said]");
    try { localStorage.setItem(HEARD, said.dataset.said); } catch { /* hidden on this page only */ }
    said.hidden = true;
    $("own").focus();
  }

  // -- wires -----------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.dataset.copy) copy(button);
    else if (button.dataset.wish) asked(button);
    else if (button.id === "hand-button") raise(button);
    else if (button.id === "dismiss") hear();
    else if (button.id === "leave") leave();
    else if (button.id === "show-key") { shown = !shown; showKey(); }
  });
  $("enter-key").addEventListener("submit", enterKey);
  $("log").addEventListener("toggle", listenToLog);
  document.addEventListener("visibilitychange", listenToLog);
  addEventListener("pagehide", () => { live?.close(); lines?.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) { listen(); listenToLog(); } });
  setInterval(() => age(document), 15000);
  age(document);
  hideHeard();
  showKey();
  listen();
})();
