"""A page of a participant's app that tries everything a page can against the board.

:data:`PAGE` is the app's page, with ``BOARD`` in the place of the board's address. What it could
read it keeps in ``window.loot``, and sets ``window.over`` when it has tried all.
"""

from __future__ import annotations

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Bob's lovely app</title>
<h1>Bob's lovely app</h1>
<div id="ground"></div>
<script>
const board = "BOARD";
const loot = window.loot = [];
const reads = ["/", "/events", "/projector", "/seats/ada", "/seats/ada/log", "/metrics", "/me", "/me/log", "/me/events",
               "/login", "/answers/1700000000000-00000001"];
const take = (what, text) => { if (text) loot.push([what, String(text).slice(0, 200)]); };
const within = (promise) => Promise.race([promise, new Promise((done) => setTimeout(done, 1500))]);
const ground = document.getElementById("ground");

async function read(path) {
  for (const mode of ["cors", "no-cors"]) {
    try {
      const answer = await within(fetch(board + path, {mode, credentials: "include"}));
      if (answer) take(mode + " " + path, await within(answer.text()));
    } catch { }
  }
}

async function change(path, body, options) {
  try {
    const answer = await within(fetch(board + path, {method: "POST", credentials: "include", body, ...options}));
    if (answer && answer.type !== "opaque") take("changed " + path, answer.status);
  } catch { }
}

function send(path, fields, type) {
  const frame = document.createElement("iframe");
  frame.name = "f" + Math.random();
  ground.append(frame);
  const form = document.createElement("form");
  Object.assign(form, {method: "post", action: board + path, target: frame.name, enctype: type});
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement("input");
    Object.assign(field, {type: "hidden", name, value});
    form.append(field);
  }
  ground.append(form);
  form.submit();
}

function load(kind, path) {
  return within(new Promise((done) => {
    const piece = document.createElement(kind);
    piece.onerror = () => done();
    piece.onload = () => {
      if (kind === "iframe") {
        try { take("frame " + path, piece.contentDocument && piece.contentDocument.body.innerText); } catch { }
        try { take("frame's name " + path, piece.contentWindow.document.title); } catch { }
      } else take(kind + " " + path, "loaded");
      done();
    };
    if (kind === "link") { piece.rel = "stylesheet"; piece.href = board + path; } else piece.src = board + path;
    ground.append(piece);
  }));
}

function listen(path) {
  return within(new Promise((done) => {
    const stream = new EventSource(board + path, {withCredentials: true});
    for (const name of ["message", "seats", "changed", "counts"])
      stream.addEventListener(name, (event) => take("events " + path, event.data));
    stream.onopen = () => take("events " + path, "opened");
    setTimeout(() => { stream.close(); done(); }, 1000);
  }));
}

function talk(path) {
  return within(new Promise((done) => {
    const socket = new WebSocket(board.replace("http", "ws") + path);
    socket.onopen = () => { take("socket " + path, "opened"); socket.send("hello"); };
    socket.onmessage = (event) => take("socket " + path, event.data);
    socket.onclose = socket.onerror = () => done();
  }));
}

async function open(path) {
  const other = window.open(board + path);
  await new Promise((done) => setTimeout(done, 700));
  try { take("window " + path, other && other.document.body.innerText); } catch { }
  try { other && other.postMessage({wish: "stop"}, "*"); } catch { }
  try { take("frames of " + path, other && !other.closed && other.length); } catch { }
  try { other && other.close(); } catch { }
}

async function all() {
  const wish = JSON.stringify({what: "stop", seats: ["ada"], text: ""});
  for (const path of reads) await read(path);
  for (const path of ["/wishes", "/logout", "/me/wishes", "/me/hand", "/me/leave", "/login", "/me/enter"]) {
    await change(path, wish, {mode: "no-cors", headers: {"content-type": "text/plain"}});
    await change(path, wish, {mode: "cors", headers: {"content-type": "application/json"}});
    await change(path, wish, {mode: "cors", headers: {"content-type": "application/json", "x-csrf-token": "guess"}});
    await change(path, new URLSearchParams({what: "stop", seats: "ada"}), {mode: "no-cors"});
    navigator.sendBeacon(board + path, wish);
    send(path, {what: "stop", seats: "ada", text: ""}, "application/x-www-form-urlencoded");
    send(path, {'{"what":"stop","seats":["ada"],"text":"': '"}'}, "text/plain");
  }
  for (const kind of ["iframe", "script", "img", "link"])
    for (const path of ["/", "/seats/ada", "/seats/ada/log", "/me", "/projector"]) await load(kind, path);
  for (const path of ["/events", "/me/events"]) await listen(path);
  await talk("/me/ready/ws");
  for (const path of ["/", "/me"]) await open(path);
  document.cookie = "__Host-workshop-board=planted; path=/; secure";
  document.cookie = "__Host-workshop-me=planted; path=/; secure";
  window.over = true;
}
all();
</script>
"""
