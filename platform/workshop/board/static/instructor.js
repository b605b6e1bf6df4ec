// What the wall and the projector share: the live stream, ages, actions, and short messages.
"use strict";

const board = (() => {
  const BEAT_MS = 40000; // The board gives a sign of life at least every 15 s.
  const AGAIN_MS = [500, 1000, 2000, 4000];
  const byId = (id) => document.getElementById(id);
  const csrf = document.querySelector('meta[name="csrf-token"]').content;

  // -- ages: elements say when something was, this says how long ago ---------------------------

  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

  function age(seconds) {
    for (const [unit, size] of UNITS) {
      if (seconds >= size) {
        return `${Math.floor(seconds / size)} ${unit}`;
      }
    }
    return "";
  }

  function ages(root = document) {
    const now = Date.now() / 1000;
    for (const one of root.querySelectorAll(".age")) {
      const words = age(now - Number(one.dataset.since));
      const text = words ? `${words} ${one.dataset.after}`.trim() : "just now";
      if (one.textContent !== text) {
        one.textContent = text;
      }
      if (!one.title) {
        one.title = clock.format(Number(one.dataset.since) * 1000);
      }
    }
  }

  // -- pieces of the page ------------------------------------------------------------------------

  // Puts pieces in the place of what has their ids, as htmx does with what is marked hx-swap-oob.
  // htmx takes some milliseconds for each, which hundreds of tiles that change at once do not have.
  function swap(text) {
    const focused = document.activeElement;
    const pieces = document.createElement("template");
    pieces.innerHTML = text;
    for (const piece of [...pieces.content.children]) {
      const gone = piece.getAttribute("hx-swap-oob") === "delete";
      const old = byId(piece.id);
      if (gone) {
        old?.remove();
      } else {
        old?.replaceWith(piece);
      }
    }
    if (focused.id && !focused.isConnected) {
      byId(focused.id)?.focus({ preventScroll: true });
    }
  }

  // -- the live stream ---------------------------------------------------------------------------

  // `address` gives where to listen; `before` and `after` are called around each change.
  function live(address, before, after) {
    const pulse = byId("pulse");
    let source = null;
    let watchdog = 0;
    let tries = 0;
    let lost = 0;

    function alive() {
      clearTimeout(watchdog);
      watchdog = setTimeout(cut, BEAT_MS);
      tries = 0;
      if (lost || !pulse.dataset.said) {
        lost = 0;
        pulse.dataset.said = "yes";
        pulse.classList.remove("cut");
        pulse.textContent = "live";
      }
    }

    function cut() {
      clearTimeout(watchdog);
      source.close();
      if (!lost) {
        lost = Date.now();
        pulse.classList.add("cut");
        pulse.textContent = `Not live since ${clock.format(lost)}. Trying again …`;
      }
      setTimeout(again, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]);
      tries += 1;
    }

    async function again() {
      // An EventSource does not say why it failed; a session that has ended must be told apart.
      try {
        const answer = await fetch("/projector", { method: "HEAD" });
        if (answer.status === 401) {
          location.replace("/login");
          return;
        }
      } catch {
        // The board is away; listening again finds out when it is back.
      }
      listen();
    }

    function listen() {
      source = new EventSource(address());
      source.addEventListener("open", alive);
      source.addEventListener("beat", alive);
      source.addEventListener("wall", (event) => {
        alive();
        before(event.data);
        swap(event.data);
        after();
      });
      source.addEventListener("error", cut);
    }

    // A page that is left must not call itself cut off while it fades.
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    listen();
  }

  // -- messages ----------------------------------------------------------------------------------

  // What stands between backticks is a command; everything else is plain text.
  function words(text) {
    const line = document.createElement("span");
    text.split("`").forEach((part, index) => {
      const node = index % 2 ? document.createElement("code") : document.createTextNode("");
      node.textContent = part;
      line.append(node);
    });
    return line;
  }

  // A modal dialog makes everything outside of it silent and dead, messages included.
  function settle() {
    const open = document.querySelectorAll("dialog[open]");
    (open[open.length - 1] || document.body).append(byId("toasts"));
  }

  function say(text, look = "") {
    settle();
    const toast = document.createElement("div");
    byId("toasts").append(toast);
    let timer = 0;
    function update(newer, newLook) {
      toast.className = `toast ${newLook}`;
      toast.replaceChildren(words(newer));
      clearTimeout(timer);
      if (newLook) {
        timer = setTimeout(() => toast.remove(), newLook === "bad" ? 15000 : 6000);
      }
    }
    update(text, look);
    toast.addEventListener("click", () => toast.remove());
    return update;
  }

  // -- actions -----------------------------------------------------------------------------------

  async function call(address, options = {}) {
    let answer = null;
    try {
      answer = await fetch(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
    } catch {
      throw new Error("The board did not answer. Try again in a moment.");
    }
    if (answer.status === 204) {
      return {};
    }
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      throw new Error(said.error || `The board answered ${answer.status}.`);
    }
    return said;
  }

  function post(address, content) {
    const headers = { "X-CSRF-Token": csrf };
    if (content !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    const body = content === undefined ? undefined : JSON.stringify(content);
    return call(address, { method: "POST", headers, body });
  }

  const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

  // Asks for an action and says what becomes of it.
  async function wish(wanted, doing) {
    const update = say(`${doing} …`);
    try {
      const placed = await post("/wishes", wanted);
      const began = Date.now();
      while (Date.now() - began < 180000) {
        await wait(Date.now() - began < 5000 ? 250 : 1000);
        const answer = await call(`/answers/${placed.id}`);
        if (answer.over) {
          update(answer.words, answer.done ? "good" : "bad");
          return answer.done;
        }
      }
      update(`${doing}: no answer yet. The wall shows what becomes of it.`, "bad");
    } catch (error) {
      update(error.message, "bad");
    }
    return false;
  }

  // Asks before something is lost; `names` are whom it is about.
  function ask(question, yes, names = []) {
    const dialog = byId("confirm");
    byId("confirm-title").textContent = question;
    byId("confirm-yes").textContent = yes;
    byId("confirm-names").textContent = names.join(", ");
    byId("confirm-names").hidden = !names.length;
    return answered(dialog).then((value) => value === "yes");
  }

  function answered(dialog) {
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((done) => {
      dialog.addEventListener("close", () => { settle(); done(dialog.returnValue); }, { once: true });
    });
  }

  setInterval(ages, 5000);
  return { age, ages, answered, ask, byId, call, live, post, say, settle, swap, wish };
})();
