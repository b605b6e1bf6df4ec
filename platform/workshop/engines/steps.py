"""Steps of confined builds, on Docker: a container for each, walled in, and what it becomes.

The engine's own builder is not used for what participants send. It fetches for ``ADD`` from the
server's own network, takes any local image, and bounds neither processes nor disk.

A process runs by ``exec`` beside one that only sleeps. An image made from a container remembers
how the container was created, so what only the process may know (the proxy's address, build
arguments) is said to ``exec``, which leaves no trace.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from docker.errors import APIError, ImageNotFound
from docker.errors import NotFound as DockerNotFound
from docker.types import LogConfig, Ulimit
from docker.utils import decode_json_header
from docker.utils.socket import frames_iter

from workshop import disk
from workshop.deploys.builds.steps import Call, End, Ended, Kind, Parent, Room, Watch
from workshop.engines import seccomp, walls
from workshop.engines.connection import (
    BUILD_SECONDS,
    CALL_SECONDS,
    connect,
    forget_image,
    mapped,
)
from workshop.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST_LINES = 2000
LONGEST_LINE = 400
MOST_OUTPUT = 32 * 1024 * 1024
"""Bytes; a process that writes more is not building anything."""
TAIL = 40
_LOOK_SECONDS = 0.5
"""Between two looks at disk and processes."""
_WAIT_SECONDS = 0.1
_CROWDED_LOOKS = 4
"""A build may touch its limit of processes for a moment; one that stays there is stuck."""
_SPARE = 3
"""Processes below the limit: who could not start another has often just ended."""
_KILLED = 137
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]
"""What apt and pip need as root, and no more."""
_NOFILE = 4096
_SHARES = 256
"""Where all processors are wanted, a build has a quarter of what a seat has."""
_OOM = 700
"""Where the server runs out of memory, builds die first; seats have 500."""
_DIRECTORY = 1 << 31
_LINK = 1 << 27
_CHUNK = 1024 * 1024
_LONGEST_REST = 64 * 1024
_LINE_END = re.compile(rb"\r?\n|\r")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class DockerSteps:
    """The :class:`~workshop.deploys.build_steps.Steps` of a Docker daemon."""

    def __init__(self, *, base_url: str | None = None) -> None:
        # Its stubs leave some of what is called here without types.
        self._api: Any = connect(base_url, CALL_SECONDS)
        self._slow: Any = connect(base_url, BUILD_SECONDS, self._api)

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()
        self._slow.close()

    # -- images -------------------------------------------------------------------------------

    def parent(self, reference: str) -> Parent | None:
        """Look an image of this engine up."""
        with mapped(), contextlib.suppress(ImageNotFound, DockerNotFound):
            return _parent(self._api.inspect_image(reference))
        return None

    def kept(self, tag: str) -> str | None:
        """Find an earlier step's image; tagging it anew is how its last use is noted."""
        found = self.parent(tag)
        if found is None:
            return None
        repository, _, version = tag.rpartition(":")
        with mapped():
            self._api.tag(found.id, repository, version)
        return found.id

    def prune(self, repository: str, keep: int) -> int:
        """Untag all but the newest; the engine keeps layers that other images stand on."""
        with mapped():
            tags = [
                tag
                for image in self._api.images(f"{repository}:*")
                for tag in image.get("RepoTags") or ()
                if tag.startswith(f"{repository}:")
            ]
            if len(tags) <= keep:
                return 0
            used = {tag: self._last_use(tag) for tag in tags}
            old = sorted(tags, key=lambda tag: used[tag], reverse=True)[keep:]
            for tag in old:
                forget_image(self._api, tag)
        return len(old)

    def _last_use(self, tag: str) -> str:
        with contextlib.suppress(ImageNotFound, DockerNotFound):
            return str(self._api.inspect_image(tag)["Metadata"]["LastTagTime"])
        return ""

    # -- containers ---------------------------------------------------------------------------

    def open(self, room: Room) -> str:
        """Make the container of a step."""
        with mapped():
            created = self._api.create_container(
                room.image,
                entrypoint=["/bin/sh", "-c", f"exec sleep {room.seconds}"],
                # The shell has no use for it; the image's history shows it.
                command=[_plain(room.note)],
                working_dir=room.cwd,
                user=room.user or None,
                labels=dict(room.marks),
                healthcheck={"test": ["NONE"]},
                host_config=self._walls(room),
            )
        return str(created["Id"])

    def _walls(self, room: Room) -> Any:  # noqa: ANN401 - the SDK's own dictionary
        return self._api.create_host_config(
            cap_drop=["ALL"],
            cap_add=_CAPABILITIES,
            security_opt=["no-new-privileges:true", *seccomp.option(self._api.api_version)],
            pids_limit=room.limits.pids,
            mem_limit=room.limits.memory,
            memswap_limit=room.limits.memory,
            cpu_shares=_SHARES,
            **walls.processors(room.limits.cpus),
            oom_score_adj=_OOM,
            shm_size="16m",
            ulimits=[
                Ulimit(name="nofile", soft=_NOFILE, hard=_NOFILE),
                Ulimit(name="core", soft=0, hard=0),
                # One file alone cannot pass the limit between two looks.
                Ulimit(name="fsize", soft=room.disk, hard=room.disk),
            ],
            log_config=LogConfig(type="json-file", config={"max-size": "64k", "max-file": "1"}),
            binds={source: {"bind": place, "mode": "ro"} for source, place in room.secrets},
            network_mode=room.network,
        )

    def kind(self, container: str, path: str) -> Kind | None:
        """Ask for the head of an archive of ``path``, which tells its mode and nothing more."""
        for _ in range(8):
            stat = self._stat(container, path)
            if stat is None:
                return None
            if not int(stat["mode"]) & _LINK or not stat["linkTarget"]:
                break
            path = str(stat["linkTarget"])
        else:
            return None
        return Kind.DIRECTORY if int(stat["mode"]) & _DIRECTORY else Kind.FILE

    def _stat(self, container: str, path: str) -> Mapping[str, Any] | None:
        with mapped():
            answer = self._api.head(
                self._archive_of(container), params={"path": path}, timeout=CALL_SECONDS
            )
            encoded = answer.headers.get("X-Docker-Container-Path-Stat")
            answer.close()
        return decode_json_header(encoded) if answer.ok and encoded else None

    def _archive_of(self, container: str) -> str:
        # The SDK can ask for an archive, but neither for its head alone nor give it up half read.
        api = self._api
        return f"{api.base_url}/v{api.api_version}/containers/{quote(container)}/archive"

    def put(self, container: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar archive at the root."""
        with mapped():
            self._slow.put_archive(container, "/", archive)

    def take(self, container: str, path: str) -> Iterator[bytes]:
        """Pack what stands at ``path``."""
        url = self._archive_of(container)
        with (
            mapped(),
            contextlib.closing(self._slow.get(url, params={"path": path}, stream=True)) as answer,
        ):
            if not answer.ok:
                raise NotFound(f"there is no {path} in the container")
            yield from answer.iter_content(_CHUNK)

    def written(self, container: str) -> int:
        """Count the bytes the container has written."""
        with mapped():
            found = self._api.containers(all=True, size=True, filters={"id": container})
        return int(found[0].get("SizeRw") or 0) if found else 0

    def run(self, container: str, call: Call, watch: Watch) -> Ended:
        """Run one process in a container and follow it to its end."""
        with mapped():
            self._api.start(container)
            try:
                job = self._api.exec_create(
                    container,
                    list(call.command),
                    environment=dict(call.env),
                    workdir=call.cwd,
                    user=call.user,
                )["Id"]
                output = _Output(self._slow.exec_start(job, socket=True))
            except APIError as exc:
                return Ended(End.EXIT, 126, (_plain(str(exc.explanation or exc)),))
        end = self._follow(container, output, watch)
        if end is not End.EXIT:
            self._kill(container)
            output.join()
            return Ended(end, tail=tuple(output.tail))
        return self._ended(container, job, output, watch.disk)

    def _follow(self, container: str, output: _Output, watch: Watch) -> End:
        next_look, crowded = time.monotonic() + _LOOK_SECONDS, 0
        for line in output.lines():
            if line is not None:
                watch.say(line)
            now = time.monotonic()
            if watch.stop():
                return End.STOPPED
            if now > watch.deadline:
                return End.TIME
            if output.received > MOST_OUTPUT:
                return End.OUTPUT
            if now < next_look:
                continue
            if self.written(container) > watch.disk:
                return End.DISK
            crowded = crowded + 1 if self._processes(container) > watch.pids - _SPARE else 0
            if crowded >= _CROWDED_LOOKS:
                return End.PROCESSES
            next_look = time.monotonic() + _LOOK_SECONDS
        return End.EXIT

    def _root(self) -> Path:
        with mapped():
            return Path(self._api.info()["DockerRootDir"])

    def _processes(self, container: str) -> int:
        with mapped():
            raw = self._api.stats(container, stream=False, one_shot=True)
        return int((raw.get("pids_stats") or {}).get("current") or 0)

    def _ended(self, container: str, job: str, output: _Output, most: int) -> Ended:
        with mapped():
            raw = self._api.exec_inspect(job)
        status = raw["ExitCode"]
        tail = tuple(output.tail)
        if status == 0:
            return Ended(End.EXIT, 0, tail)
        if disk.is_full("\n".join(tail)) and disk.may_have_been_full(self._root(), most):
            return Ended(End.ENGINE_FULL, status, tail)
        # Whether the kernel has killed for memory is only told of a container that has ended.
        self._kill(container)
        with mapped():
            state = self._api.inspect_container(container)["State"]
        if state["OOMKilled"] or status in {None, _KILLED}:
            return Ended(End.MEMORY, status or _KILLED, tail)
        return Ended(End.EXIT, int(status), tail)

    def _kill(self, container: str) -> None:
        with mapped(), contextlib.suppress(APIError):
            self._api.kill(container)

    def commit(
        self,
        container: str,
        tag: str,
        labels: Mapping[str, str],
        config: Mapping[str, object] | None = None,
    ) -> str:
        """Make an image; whatever still runs in the container is held still meanwhile."""
        repository, _, version = tag.rpartition(":")
        conf: Any = {**(config or {}), "Labels": dict(labels)}
        with mapped():
            made = self._slow.commit(container, repository, version, conf=conf)
        return str(made["Id"])

    def discard(self, container: str) -> None:
        """Remove a container, running or not, and the volumes its image asked for."""
        with mapped(), contextlib.suppress(DockerNotFound):
            self._api.remove_container(container, v=True, force=True)

    def clear(self, marks: Mapping[str, str]) -> int:
        """Remove the containers that carry ``marks``."""
        wanted = [f"{key}={value}" for key, value in marks.items()]
        with mapped():
            found = self._api.containers(all=True, filters={"label": wanted})
        for item in found:
            self.discard(item["Id"])
        return len(found)


class _Output:
    """What a process writes, read by a thread so that nobody has to wait for a silent one."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - a file object around a socket
        self.received = 0
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._passed = 0
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def lines(self) -> Iterator[str | None]:
        """Yield lines as they come, and ``None`` every now and then while none does."""
        while True:
            try:
                line = self._lines.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                if not self._thread.is_alive() and self._lines.empty():
                    return
                yield None
                continue
            if line is None:
                return
            yield line

    def join(self) -> None:
        """Wait until nothing more is read."""
        self._thread.join(CALL_SECONDS)

    def _read(self, stream: Any) -> None:  # noqa: ANN401 - as above
        rest, frames = b"", cast("Any", frames_iter)
        # A container that is killed may take its stream with it.
        with contextlib.suppress(OSError, ValueError):
            for _, chunk in frames(stream, tty=False):
                self.received += len(chunk)
                *whole, rest = _LINE_END.split(rest + chunk)
                rest = rest[-_LONGEST_REST:]
                self._take(whole)
        self._take([rest] if rest else [])
        _close(stream)
        self._lines.put(None)

    def _take(self, lines: list[bytes]) -> None:
        # Of a flood, only what is passed on or kept costs anything.
        for raw in lines[: max(0, MOST_LINES - 1 - self._passed)]:
            self._lines.put(_line(raw))
        if self._passed < MOST_LINES <= self._passed + len(lines):
            self._lines.put("(more lines than are shown)")
        self._passed += len(lines)
        self.tail.extend(_line(raw) for raw in lines[-TAIL:])


def _line(raw: bytes) -> str:
    return _plain(raw[: 4 * LONGEST_LINE].decode("utf-8", "replace"))


def _close(stream: Any) -> None:  # noqa: ANN401 - a file object around a socket
    """Close all three: what the SDK hands out, the socket in it and the answer it came with."""
    for part in (getattr(stream, "_response", None), stream, getattr(stream, "_sock", None)):
        if part is not None:
            part.close()


def _plain(text: str) -> str:
    """Drop colour codes, quote what else could move a terminal's cursor, and shorten."""
    text = _COLOUR.sub("", text).replace("\t", "    ")
    text = text if text.isprintable() else json.dumps(text)
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}..."


def _parent(raw: Mapping[str, Any]) -> Parent:
    config = raw["Config"] or {}
    env = tuple(item.partition("=")[::2] for item in config.get("Env") or ())
    return Parent(
        id=str(raw["Id"]),
        env=tuple((key, value) for key, value in env),
        cwd=config.get("WorkingDir") or "/",
        user=config.get("User") or "",
        command=tuple(config.get("Cmd") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
    )
