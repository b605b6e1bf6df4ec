"""A chat page with Flask. Every address it answers stands in this file."""

import json
import os
from collections.abc import Iterator

from flask import Flask, Response, render_template, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app import model

LONGEST_QUESTION = 4000

app = Flask(__name__)
# The server strips /NAME from each address and tells it in X-Forwarded-Prefix. With this, url_for
# puts it back. The server overwrites these headers, so a visitor cannot forge them.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]


@app.get("/")
def page() -> str:
    """Show the chat page."""
    name = os.environ.get("DISPLAY_NAME") or os.environ.get("WORKSHOP_PARTICIPANT", "you")
    return render_template("index.html", name=name, echo=not model.has_key())


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Tell the server that the app is ready."""
    return {"status": "ok"}


@app.get("/whoami")
def whoami() -> dict[str, str]:
    """Tell whose app this is, and which version of it."""
    return {
        "participant": os.environ.get("WORKSHOP_PARTICIPANT", "you"),
        "version": os.environ.get("WORKSHOP_VERSION", "local"),
    }


@app.post("/chat")
def chat() -> tuple[dict[str, str], int] | Response:
    """Answer a question as a stream of server-sent events: `token`, then `done` or `error`."""
    body = request.get_json(silent=True)
    question = body.get("message") if isinstance(body, dict) else None
    if not isinstance(question, str) or not 0 < len(question.strip()) <= LONGEST_QUESTION:
        return {"error": f"Send a message of 1 to {LONGEST_QUESTION} characters."}, 422
    return Response(events(question.strip()), mimetype="text/event-stream")


def events(question: str) -> Iterator[str]:
    """Yield an answer in the form a browser's EventSource understands."""
    try:
        for piece in model.answer(question):
            yield event("token", piece)
        yield event("done", "")
    except model.ModelError as error:
        yield event("error", str(error))


def event(name: str, text: str) -> str:
    """Write one server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'text': text})}\n\n"
