"use strict";
// "Am I ready?": what a session needs of this browser and its network, tried from here.

(() => {
  const { $ } = me;
  if (!$("ready")) return;
  const data = $("ready").dataset;
  const PATIENCE = 8000;
  const limit = () => ({ signal: AbortSignal.timeout(PATIENCE), cache: "no-store", credentials: "omit" });
  const good = (words) => ({ kind: "good", words });
  const bad = (words, next) => ({ kind: "bad", words, next });

  async function reached(address) {
    const began = performance.now();
    // Another origin's answer cannot be read, but whether there was one can be told.
    await fetch(address, { mode: "no-cors", ...limit() });
    return Math.round(performance.now() - began);
  }

  async function host() {
    try { return good(`Answers after ${await reached(data.host)} ms.`); } catch {
      return bad(`${data.host} cannot be reached from here.`,
        "Are you in the room's network? A VPN or a company's proxy may be in the way: switch it off, or try your phone's hotspot.");
    }
  }

  async function app() {
    try { return good(`Answers after ${await reached(data.app)} ms.`); } catch {
      return bad(`${data.app} cannot be reached from here.`,
        "Open it in a new tab: the browser says why. If only this one fails, raise your hand.");
    }
  }

  async function registry() {
    try { await reached(data.registry); } catch {
      return bad(`${data.registry} cannot be reached from here.`,
        "docker push will not work. Use the upload box: it needs no Docker.");
    }
    return good("Reachable. Whether Docker itself gets through, docker login tells.");
  }

  async function key() {
    if (!me.key()) return bad("This browser does not have your key.", "Type it in above, under Your key.");
    try {
      const answer = await fetch(data.deploys, {
        headers: { authorization: `Bearer ${me.key()}`, accept: "application/json" }, ...limit() });
      if (answer.ok) return good("The class's server takes it.");
      if (answer.status === 401) return bad("The class's server does not take it.", "Copy it anew from your card, or raise your hand.");
      return bad(`The class's server answered ${answer.status}.`, "Try again in a minute, then raise your hand.");
    } catch { return bad("The class's server cannot be asked.", "See the first line."); }
  }

  // Three events, a while apart: in a network that holds streams back they come all at once, or never.
  function events() {
    return new Promise((tell) => {
      const came = [];
      const source = new EventSource("/me/ready/sse");
      const end = (verdict) => { source.close(); clearTimeout(late); tell(verdict); };
      const next = "A proxy, a VPN or a virus scanner holds streams back; answers of your app would come in one lump. Try without it, or your phone's hotspot.";
      const late = setTimeout(() => end(bad(`${came.length} of 3 events came.`, next)), PATIENCE);
      source.addEventListener("tick", () => {
        came.push(performance.now());
        if (came.length < 3) return;
        const apart = Math.round(came[2] - came[0]);
        end(apart > 200 ? good(`3 events came one by one, within ${apart} ms.`) : bad("3 events came all at once.", next));
      });
      source.onerror = () => end(bad(`The stream broke after ${came.length} of 3 events.`, next));
    });
  }

  function socket() {
    return new Promise((tell) => {
      const next = "Apps that use WebSockets will not work from here. A proxy or a VPN is in the way: try without it.";
      let began = 0;
      const line = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/me/ready/ws`);
      const end = (verdict) => { clearTimeout(late); line.onclose = null; line.close(); tell(verdict); };
      const late = setTimeout(() => end(bad("No answer came.", next)), PATIENCE);
      line.onopen = () => { began = performance.now(); line.send("ready?"); };
      line.onmessage = (event) => end(event.data === "ready?"
        ? good(`Its echo came after ${Math.round(performance.now() - began)} ms.`) : bad("Another answer came than was sent.", next));
      line.onclose = () => end(bad("The connection was not made.", next));
    });
  }

  const CHECKS = { host, app, key, registry, events, socket };

  function show(name, verdict) {
    const row = $(`ready-${name}`);
    row.className = verdict.kind;
    row.querySelector(".verdict").textContent = { good: "Good", bad: "Not good", busy: "Trying …" }[verdict.kind];
    row.querySelector(".words").textContent = verdict.words;
    row.querySelector(".next").textContent = verdict.next ? `What to do: ${verdict.next}` : "";
  }

  async function check() {
    $("check").setAttribute("aria-disabled", "true");
    $("checks").hidden = false;
    $("verdict").textContent = "Trying …";
    const found = await Promise.all(Object.entries(CHECKS).map(async ([name, look]) => {
      show(name, { kind: "busy", words: "" });
      const verdict = await look();
      show(name, verdict);
      return verdict.kind;
    }));
    const wrong = found.filter((kind) => kind === "bad").length;
    $("verdict").textContent = wrong ? `${wrong} of ${found.length} need a look.` : "You are ready: everything works from here.";
    $("verdict").className = wrong ? "bad" : "good";
    $("check").removeAttribute("aria-disabled");
  }

  $("check").addEventListener("click", () => { if ($("check").getAttribute("aria-disabled") !== "true") check(); });
})();
