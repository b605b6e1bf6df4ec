"""Start the service: check processor and files, load both models, then listen."""

from __future__ import annotations

import os
import sys

import uvicorn

from workshop.embedded import cpus, embeddings, engine, models
from workshop.embedded.server import create_app
from workshop.embedded.slots import Slots

UNSUITABLE = 3
"""Exit code: this machine or this image cannot run the models."""


def main() -> int:
    """Serve until told to stop; return the exit code."""
    lacking = cpus.missing_instructions(cpus.CPUINFO.read_text("utf-8"))
    if lacking:
        names = ", ".join(name.upper() for name in lacking)
        return _give_up(f"this processor lacks {names}: the embedded model cannot run here")
    try:
        for file in models.FILES if "--check" in sys.argv[1:] else ():
            file.verified()
        return 0 if "--check" in sys.argv[1:] else _serve()
    except models.WrongModelError as exc:
        return _give_up(str(exc))


def _serve() -> int:
    settings = engine.EngineSettings()
    threads = cpus.threads(cpus.usable_cpus())
    embedder = embeddings.load(models.DIRECTORY)
    chat = engine.start(models.CHAT.verified(), threads, settings)
    sys.stdout.write(f"both models are loaded; {settings.slots} slots on {threads} threads\n")
    uvicorn.run(
        create_app(chat.address, embedder, Slots(settings.slots)),
        host="0.0.0.0",  # noqa: S104 - inside a container, reached by the gateway only
        port=int(os.environ.get("PORT", "8000")),
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    return 0


def _give_up(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return UNSUITABLE


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The engine's threads have no orderly end of their own to wait for.
    os._exit(code)
