// The wall: which tiles are shown, in which order, and how the keyboard moves among them.
"use strict";

(() => {
  const { byId } = board;
  const STILL_MS = 15000; // A pointer that rests this long holds nothing up any more.
  const STATES = ["crashing", "stopped", "missing", "silent", "held", "live"];
  const wall = byId("wall");
  const lists = { needing: byId("needing-tiles"), rest: byId("rest-tiles") };
  const search = byId("search");
  const sort = byId("sort");
  const dense = byId("dense");
  const looks = new Map(); // What each tile looked like, to point out what changed.
  let filter = "";
  let current = "";
  let pointing = false;
  let moved = 0;
  let late = 0;
  let spoken = "";

  const tiles = () => [...wall.querySelectorAll(".tile")];
  const shown = () => tiles().filter((tile) => !tile.hidden);
  const opener = (name) => byId(`open-${name}`);

  // -- order ---------------------------------------------------------------------------------------

  const number = (field) => (a, b) => Number(b.dataset[field]) - Number(a.dataset[field]);
  const ORDERS = {
    needs: (a, b) => a.dataset.rank - b.dataset.rank || a.dataset.hand - b.dataset.hand,
    name: () => 0,
    state: (a, b) => STATES.indexOf(a.dataset.state) - STATES.indexOf(b.dataset.state),
    deployed: number("deployed"),
    requests: number("requests"),
    memory: number("memory"),
    tokens: number("tokens"),
  };

  function byName(a, b) {
    return a.dataset.name.localeCompare(b.dataset.name, "en", { numeric: true });
  }

  function place(list, wanted) {
    const same = list.children.length === wanted.length
      && wanted.every((tile, index) => list.children[index] === tile);
    if (!same) {
      list.replaceChildren(...wanted);
    }
  }

  function matches(tile) {
    const words = search.value.trim().toLowerCase().split(/\s+/);
    const marks = tile.dataset.marks.split(" ");
    return (!filter || marks.includes(filter)) && words.every((word) => tile.dataset.find.includes(word));
  }

  function arrange() {
    clearTimeout(late);
    late = 0;
    byId("waits").hidden = true;
    const focused = document.activeElement;
    const all = tiles().sort((a, b) => ORDERS[sort.value](a, b) || byName(a, b));
    for (const tile of all) {
      tile.hidden = !matches(tile);
    }
    const split = sort.value === "needs";
    const needing = split ? all.filter((tile) => tile.dataset.rank < 3) : [];
    place(lists.rest, all.filter((tile) => !needing.includes(tile)));
    place(lists.needing, needing);
    byId("needing").hidden = !needing.some((tile) => !tile.hidden);
    byId("rest-title").textContent = byId("needing").hidden ? "Everybody" : "Everybody else";
    byId("rest-title").hidden = !lists.rest.querySelector(".tile:not([hidden])");
    byId("nobody").hidden = all.some((tile) => !tile.hidden);
    if (focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
    reach();
  }

  // Nothing may move from under a pointer that is about to press.
  function arrangeLater() {
    if (!pointing || Date.now() - moved > STILL_MS) {
      arrange();
      return;
    }
    byId("waits").hidden = false;
    clearTimeout(late);
    late = setTimeout(arrangeLater, 1000);
  }

  wall.addEventListener("pointermove", (event) => {
    pointing = event.pointerType === "mouse";
    moved = Date.now();
  });
  wall.addEventListener("pointerleave", () => {
    pointing = false;
    if (late) {
      arrange();
    }
  });

  // -- filters ---------------------------------------------------------------------------------------

  function press() {
    let found = false;
    for (const button of document.querySelectorAll("[data-filter]")) {
      const on = button.dataset.filter === filter;
      button.setAttribute("aria-pressed", String(on));
      found = found || on;
    }
    // Its last seat is no longer so, and its button is gone with it.
    if (!found) {
      filter = "";
      press();
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-filter]");
    if (button) {
      filter = button.dataset.filter === filter ? "" : button.dataset.filter;
      press();
      arrange();
    }
  });
  search.addEventListener("input", arrange);
  sort.addEventListener("change", () => {
    localStorage.setItem("workshop-sort", sort.value);
    arrange();
  });

  function pack(on) {
    wall.classList.toggle("dense", on);
    dense.setAttribute("aria-pressed", String(on));
  }

  dense.addEventListener("click", () => {
    const on = !wall.classList.contains("dense");
    localStorage.setItem("workshop-dense", on ? "yes" : "no");
    pack(on);
  });

  // -- keyboard: one stop for the whole wall, arrows inside of it --------------------------------------

  function reach(name = current) {
    const found = shown();
    const tile = found.find((one) => one.dataset.name === name) || found[0];
    current = tile ? tile.dataset.name : "";
    for (const one of found) {
      one.querySelector(".tile-open").tabIndex = one === tile ? 0 : -1;
    }
    return tile;
  }

  function go(tile) {
    if (tile) {
      reach(tile.dataset.name).querySelector(".tile-open").focus();
    }
  }

  function beside(name, step) {
    const found = shown();
    const at = found.findIndex((tile) => tile.dataset.name === name);
    return at < 0 ? found[0] : found[at + step];
  }

  // The tile above or below: the nearest one in the next row that is there.
  function across(name, down) {
    const here = byId(`seat-${name}`).getBoundingClientRect();
    const middle = here.left + here.width / 2;
    let best = null;
    let least = Infinity;
    for (const tile of shown()) {
      const box = tile.getBoundingClientRect();
      const rows = down ? box.top - here.bottom : here.top - box.bottom;
      if (rows > -1) {
        const far = rows * 1000 + Math.abs(box.left + box.width / 2 - middle);
        if (far < least) {
          [best, least] = [tile, far];
        }
      }
    }
    return best;
  }

  const KEYS = {
    ArrowRight: () => beside(current, 1),
    ArrowLeft: () => beside(current, -1),
    j: () => beside(current, 1),
    k: () => beside(current, -1),
    ArrowDown: () => across(current, true),
    ArrowUp: () => across(current, false),
    Home: () => shown()[0],
    End: () => shown().at(-1),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
      return;
    }
    if (event.key === "/" && !typing) {
      event.preventDefault();
      search.select();
      return;
    }
    if (event.target === search && event.key === "Escape") {
      search.value = "";
      arrange();
      return;
    }
    if (event.target === search && (event.key === "Enter" || event.key === "ArrowDown")) {
      event.preventDefault();
      go(shown()[0]);
      return;
    }
    const inside = event.target.closest(".tile");
    if (typing || !current || !(event.key in KEYS) || (!inside && !["j", "k"].includes(event.key))) {
      return;
    }
    event.preventDefault();
    go(inside ? KEYS[event.key]() : reach());
  });
  wall.addEventListener("focusin", (event) => {
    const tile = event.target.closest(".tile");
    if (tile) {
      reach(tile.dataset.name);
    }
  });

  // -- changes -------------------------------------------------------------------------------------------

  // A seat that is new here gets a place for its tile to come to.
  function before(text) {
    for (const [, name] of text.matchAll(/<li id="seat-([a-z0-9-]+)"/g)) {
      if (!byId(`seat-${name}`)) {
        const tile = document.createElement("li");
        tile.id = `seat-${name}`;
        lists.rest.append(tile);
      }
    }
  }

  function after() {
    board.ages();
    press();
    point();
    arrangeLater();
    reach();
    tell();
    document.dispatchEvent(new Event("board:changed"));
  }

  function point() {
    for (const tile of tiles()) {
      const look = `${tile.dataset.state} ${tile.dataset.rank} ${tile.dataset.deployed}`;
      const old = looks.get(tile.dataset.name);
      tile.classList.toggle("fresh", old !== undefined && old !== look);
      looks.set(tile.dataset.name, look);
    }
  }

  // For those who do not see the wall: only who needs them, and never in the middle of a word.
  function tell() {
    const count = (mark) => byId(`filter-${mark}`)?.querySelector("b").textContent || "0";
    const text = `${count("needs")} need you, ${count("hand")} hands up`;
    if (text !== spoken) {
      spoken = text;
      byId("spoken").textContent = text;
    }
  }

  // -- actions for everybody -------------------------------------------------------------------------------

  async function restartFailed(button) {
    const names = button.dataset.failed.split(" ").filter(Boolean);
    const seats = names.length === 1 ? "1 seat" : `${names.length} seats`;
    if (names.length && await board.ask(`Restart ${seats} that failed?`, "Restart", names)) {
      await board.wish({ what: "restart", seats: names }, `Restarting ${seats}`);
    }
  }

  async function announce() {
    const answer = board.answered(byId("announcing"));
    byId("announcing-text").select();
    if (await answer === "yes") {
      await board.wish({ what: "announce", text: byId("announcing-text").value.trim() }, "Announcing");
    }
  }

  async function leave() {
    try {
      location.replace((await board.post("/logout")).to);
    } catch (error) {
      board.say(error.message, "bad");
    }
  }

  async function act(button) {
    const { what, seat, text = "", doing, confirm, yes } = button.dataset;
    if (!confirm || await board.ask(confirm, yes)) {
      await board.wish({ what, seats: seat ? [seat] : [], text }, doing);
    }
  }

  const BUTTONS = { "restart-failed": restartFailed, announce, "log-out": leave };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.what) {
      act(button);
    } else if (button && button.id in BUTTONS) {
      BUTTONS[button.id](button);
    }
  });
  byId("announcing-text").addEventListener("input", (event) => {
    byId("announcing-left").textContent = `${500 - event.target.value.length} characters left`;
  });

  // -- start -------------------------------------------------------------------------------------------------

  const kept = localStorage.getItem("workshop-sort");
  sort.value = kept in ORDERS ? kept : "needs";
  pack({ yes: true, no: false }[localStorage.getItem("workshop-dense")] ?? wall.classList.contains("dense"));
  board.beside = (name, step) => beside(name, step)?.dataset.name;
  board.opener = opener;
  board.ages();
  point();
  arrange();
  tell();
  board.live(() => `/events?since=${encodeURIComponent(byId("cursor").dataset.cursor)}`, before, after);
})();
