"""The chat engine: llama.cpp's own server, in this process, heard inside this container only."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workshop.embedded.chat import MODEL, MOST_TOKENS

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class EngineSettings:
    """How the engine shares what the container has.

    Attributes:
        slots: answers written at once.
        context: tokens a conversation and its answer may have. 23 KB each are set aside per slot.
        batch: tokens worked off in one step; while a long prompt is read, the others wait for
            one such step, about a second on one processor.
        temperature, min_p: sampling where a request says nothing. So low, because a model this
            small soon leaves the subject; a penalty on repeated words would keep it from quoting.
        dry_length: a run of words longer than this, said just before, is not said again: loops end.

    """

    slots: int = 4
    context: int = 2048
    batch: int = 128
    temperature: float = 0.1
    min_p: float = 0.1
    dry_length: int = 8


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        address: where it listens.
        handle: what keeps it running; it ends with its last reference.

    """

    address: str
    handle: object


def start(model: Path, threads: int, settings: EngineSettings) -> Engine:
    """Load the model and listen on a port the system chooses."""
    # By name: the library has no type hints and exists in the image only.
    library = importlib.import_module("xllamacpp")
    server = library.Server(_parameters(library, model, threads, settings))
    return Engine(server.listening_address, server)


def _parameters(library: Any, model: Path, threads: int, settings: EngineSettings) -> Any:  # noqa: ANN401 - untyped library
    params = library.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context
    params.n_batch = params.n_ubatch = settings.batch
    params.n_predict = MOST_TOKENS
    # The library's default for remembered prompts is 8 GiB.
    params.cache_ram_mib = 0
    for processors in (params.cpuparams, params.cpuparams_batch):
        processors.n_threads = threads
        # A thread that spins while it waits eats the quota of those that work.
        processors.poll = 0
    _set_sampling(params.sampling, settings)
    return params


def _set_sampling(sampling: Any, settings: EngineSettings) -> None:  # noqa: ANN401 - untyped library
    sampling.temp = settings.temperature
    sampling.min_p = settings.min_p
    sampling.dry_allowed_length = settings.dry_length
    # Off at zero; 0.8 is what its authors recommend.
    sampling.dry_multiplier = 0.8
