"use strict";
// The upload box: the archive goes from this browser straight to the class's deploy service, with
// the participant's own key, and what becomes of it is told line by line.

(() => {
  const { $ } = me;
  const box = $("drop");
  if (!box) return;
  const address = box.dataset.to, largest = Number(box.dataset.largest), MEGABYTE = 1024 * 1024;
  let busy = false;

  function say(lines) {
    const place = $("told");
    place.hidden = false;
    place.append(...lines.map((line) => `${line}\n`));
    place.scrollTop = place.scrollHeight;
    const end = { deployed: "good", failed: "bad", superseded: "held" }[lines.at(-1)];
    if (end) place.classList.add(end);
  }

  function refusal(request) {
    // Whatever stands before the service answers in plain text.
    try { return JSON.parse(request.responseText).error; } catch {
      return request.responseText.trim().slice(0, 500) || `The server answered ${request.status}.`;
    }
  }

  function send(file) {
    return new Promise((over) => {
      const request = new XMLHttpRequest(), bar = $("sent");
      let taken = 0, started = false;
      request.open("POST", address);
      request.setRequestHeader("authorization", `Bearer ${me.key()}`);
      request.setRequestHeader("accept", "application/x-ndjson");
      request.setRequestHeader("content-type", "application/octet-stream");
      request.upload.onprogress = (event) => {
        bar.hidden = false;
        bar.value = event.total ? event.loaded / event.total : 0;
      };
      request.onprogress = () => {
        if (request.status !== 202) return;
        started = true;
        bar.hidden = true;
        const whole = request.responseText.lastIndexOf("\n") + 1;
        const lines = request.responseText.slice(taken, whole).split("\n").filter(Boolean);
        taken = whole;
        for (const line of lines) say(JSON.parse(line).text || []);
      };
      request.onload = () => {
        if (request.status === 202) request.onprogress();
        else say([refusal(request), "failed"]);
      };
      request.onerror = () => say([started
        ? "The connection broke. The deploy goes on without you: it shows up below."
        : "The class's server could not be reached, or broke off. Look below whether it arrived all the same; then try again."]);
      request.onloadend = () => { bar.hidden = true; over(); };
      request.send(file);
    });
  }

  function objection(file) {
    if (!me.key()) return "This browser does not have your key. Type it in above, under Your key.";
    if (!/\.(zip|tar\.gz|tgz|tar)$/i.test(file.name)) return `${file.name} is no archive. Pack your app's folder as .zip or .tar.gz.`;
    if (file.size > largest) return `${file.name} has ${(file.size / MEGABYTE).toFixed(1)} MB; ${(largest / MEGABYTE).toFixed(0)} MB may come. Leave out .venv, node_modules, .git and data.`;
    return "";
  }

  async function take(file) {
    if (busy || !file) return;
    $("told").textContent = "";
    $("told").className = "log";
    const wrong = objection(file);
    if (wrong) { say([wrong, "failed"]); return; }
    busy = true;
    box.classList.add("busy");
    $("file").disabled = true;
    say([`Sending ${file.name} …`]);
    await send(file);
    busy = false;
    box.classList.remove("busy");
    $("file").disabled = false;
    $("file").value = "";
  }

  $("file").addEventListener("change", () => take($("file").files[0]));
  // A file that misses the box must not replace the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  for (const kind of ["dragenter", "dragover"]) box.addEventListener(kind, () => box.classList.add("over"));
  for (const kind of ["dragleave", "drop"]) box.addEventListener(kind, () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    const [entry] = event.dataTransfer.items ?? [];
    if (entry?.webkitGetAsEntry?.()?.isDirectory) {
      $("told").textContent = "";
      $("told").className = "log";
      say(["That is a folder. Pack it as .zip or .tar.gz, and drop that.", "failed"]);
    } else take(event.dataTransfer.files[0]);
  });
})();
