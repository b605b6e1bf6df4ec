// The drawer: one seat, with its log as it grows and everything that can be done to it.
"use strict";

(() => {
  const { byId } = board;
  const LOG_MS = 1000;
  const FACTS_MS = 5000;
  const MOST_LINES = 2000;
  const NEAR = 24; // Pixels from the end that still count as being there.
  const drawer = byId("drawer");
  let name = ""; // Whose drawer is wanted,
  let about = ""; // and whose is shown.
  let facts = "";
  let lines = [];
  let timer = 0;
  let looked = 0;
  let pressed = false;

  // Fetches a piece of the page.
  async function read(address) {
    let answer = null;
    try {
      answer = await fetch(address, { headers: { Accept: "text/html", "HX-Request": "true" } });
    } catch {
      throw new Error("The board did not answer. Try again in a moment.");
    }
    const text = await answer.text();
    if (!answer.ok) {
      throw new Error(JSON.parse(text).error);
    }
    return text;
  }

  // -- open and close ------------------------------------------------------------------------------

  async function open(wanted) {
    clearTimeout(timer);
    name = wanted;
    let text = "";
    try {
      text = await read(`/seats/${wanted}`);
    } catch (error) {
      board.say(error.message, "bad");
      name = drawer.open ? about : "";
      tick();
      return;
    }
    if (name !== wanted) {
      return;
    }
    about = wanted;
    facts = "";
    lines = [];
    htmx.swap(byId("drawer-content"), text, { swapStyle: "innerHTML" });
    board.ages(drawer);
    if (!drawer.open) {
      drawer.showModal();
    }
    board.settle();
    drawer.scrollTop = 0;
    byId("drawer-title").focus({ preventScroll: true });
    looked = Date.now();
    tick();
  }

  function shut() {
    name = "";
    drawer.close();
  }

  drawer.addEventListener("cancel", () => { name = ""; });
  drawer.addEventListener("close", () => {
    board.settle();
    // The next one may have been asked for already.
    if (!name) {
      clearTimeout(timer);
      board.opener(about)?.focus();
    }
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest(".tile-open");
    if (opener) {
      open(opener.closest(".tile").dataset.name);
    } else if (event.target.closest("#drawer-close")) {
      shut();
    } else if (event.target === drawer && event.clientX < drawer.getBoundingClientRect().left) {
      shut();
    }
  });

  drawer.addEventListener("keydown", (event) => {
    const step = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const next = board.beside(name || about, step);
    if (next) {
      event.preventDefault();
      open(next);
    }
  });

  // -- what changes ----------------------------------------------------------------------------------

  async function tick() {
    const asked = name;
    if (!asked) {
      return;
    }
    await Promise.allSettled([readLog(asked), Date.now() - looked > FACTS_MS ? readFacts(asked) : null]);
    if (drawer.open && name === asked) {
      clearTimeout(timer);
      timer = setTimeout(tick, LOG_MS);
    }
  }

  async function readFacts(asked) {
    looked = Date.now();
    const text = await read(`/seats/${asked}/facts`);
    // A button must not vanish between press and release, nor what is being read for nothing.
    if (name === asked && text !== facts && !pressed) {
      facts = text;
      htmx.swap(document.body, text, { swapStyle: "none" });
      board.ages(drawer);
    }
  }

  async function readLog(asked) {
    const said = await board.call(`/seats/${asked}/log`);
    const log = byId("log");
    if (name !== asked || !said.ready) {
      return;
    }
    const more = fresh(lines, said.lines);
    const following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    if (more === null || !lines.length) {
      log.replaceChildren();
    }
    const added = more ?? said.lines;
    lines = said.lines;
    log.append(...added.map((line) => document.createTextNode(`${line}\n`)));
    while (log.childNodes.length > MOST_LINES) {
      log.firstChild.remove();
    }
    if (!lines.length) {
      log.textContent = "Nothing logged yet.";
    }
    if (following) {
      log.scrollTop = log.scrollHeight;
    }
    byId("log-follow").hidden = following;
  }

  // The lines of `newer` that `older` has not; null where they have nothing in common.
  function fresh(older, newer) {
    for (let count = Math.min(older.length, newer.length); count > 0; count -= 1) {
      const from = older.length - count;
      if (newer[0] === older[from] && newer.slice(0, count).every((line, at) => line === older[from + at])) {
        return newer.slice(count);
      }
    }
    return older.length ? null : newer;
  }

  document.addEventListener("board:changed", () => {
    if (drawer.open && name) {
      readFacts(name).catch(() => {});
    }
  });
  drawer.addEventListener("pointerdown", () => { pressed = true; });
  addEventListener("pointerup", () => { pressed = false; });
  addEventListener("pointercancel", () => { pressed = false; });

  // -- buttons -----------------------------------------------------------------------------------------

  async function lower(button) {
    try {
      await board.post(`/seats/${button.dataset.hand}/hand`);
    } catch (error) {
      board.say(error.message, "bad");
    }
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(byId("log").textContent);
      board.say("The log is copied.", "good");
    } catch {
      board.say("The browser did not allow to copy. Select the lines instead.", "bad");
    }
  }

  drawer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.hand) {
      lower(button);
    } else if (button?.id === "log-copy") {
      copy();
    } else if (button?.id === "log-follow") {
      byId("log").scrollTop = byId("log").scrollHeight;
      button.hidden = true;
    }
  });
})();
