"use strict";
const [log, form, message, send] =
  ["log", "form", "message", "send"].map((id) => document.getElementById(id));

// Text goes in as text, never as HTML: what people type cannot become code.
function show(who, text) {
  const bubble = document.createElement("p");
  bubble.className = who;
  bubble.textContent = text;
  log.append(bubble);
  bubble.scrollIntoView({ block: "end" });
  return bubble;
}

async function ask(question) {
  show("you", question);
  const bubble = show("app", "");
  try {
    const response = await fetch(document.body.dataset.chat, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ message: question }),
    });
    if (!response.ok) throw Error("The app does not answer (" + response.status + ").");
    let done = false;
    await readEvents(response.body, (name, text) => {
      if (name === "error") throw Error(text);
      if (name === "done") done = true;
      bubble.textContent += text;
    });
    if (!done) throw Error("The answer broke off. Ask again in a moment.");
  } catch (problem) {
    show("trouble", problem.message);
  }
  if (!bubble.textContent) bubble.remove();
}

// Reads events "event: NAME", "data: {...}", each ended by an empty line.
async function readEvents(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^event: (.*)\ndata: (.*)$/);
      onEvent(name, JSON.parse(data).text);
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = message.value.trim();
  if (!question || send.disabled) return;
  message.value = "";
  send.disabled = true;
  await ask(question);
  send.disabled = false;
  message.focus();
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
