"""Looking for a canary everywhere: what is planted where, and every place of a machine's to search.

A canary is a value nobody else uses. It is looked for as it is and in base64, at each of the three
places it may begin at.
"""

from __future__ import annotations

import base64
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAMPLE_SECONDS = 0.05
_CHUNK = 1 << 20


def forms(canary: str) -> list[bytes]:
    """List what a canary looks like, plain and in base64."""
    raw = canary.encode()
    found = [raw]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        # The ends depend on the neighbours.
        found.append(encoded[4 if shift else 0 : -4])
    return found


@dataclass
class Hunt:
    """Collects where each canary was seen."""

    canaries: Mapping[str, str]
    """The value of each, by name."""
    seen: dict[str, set[str]] = field(default_factory=dict)
    """Places by name."""
    searched: set[str] = field(default_factory=set)
    """First words of all places looked at: a place that is never looked at proves nothing."""
    samples: int = 0

    def __post_init__(self) -> None:
        self._forms = {name: forms(value) for name, value in self.canaries.items()}
        self._any = re.compile(b"|".join(re.escape(f) for fs in self._forms.values() for f in fs))
        self._longest = max(len(form) for fs in self._forms.values() for form in fs)
        self._lock = threading.Lock()

    def look(self, place: str, data: bytes) -> None:
        """Search ``data``."""
        with self._lock:
            self.searched.add(place.split(maxsplit=1)[0])
            if not self._any.search(data):
                return
            for name, wanted in self._forms.items():
                if any(form in data for form in wanted):
                    self.seen.setdefault(name, set()).add(place)

    def tree(self, place: str, root: Path, part: str = "") -> None:
        """Search every file below ``root``, or a part of it, and their names."""
        start = root / part
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            where = f"{place} {path.relative_to(root)}"
            self.look(where, str(path).encode())
            if path.is_file() and not path.is_symlink():
                self.look(where, path.read_bytes())

    def images(self, tags: list[str]) -> None:
        """Search configurations, histories and every layer of images."""
        for tag in tags:
            self.look(f"image {tag}", said("docker", "image", "inspect", tag))
            self.look(f"image {tag}", said("docker", "history", "--no-trunc", tag))
        with subprocess.Popen(["docker", "save", *tags], stdout=subprocess.PIPE) as saving:
            assert saving.stdout is not None
            before = b""
            while chunk := saving.stdout.read(_CHUNK):
                self.look("layer", before + chunk)
                before = chunk[-self._longest :]
        assert saving.returncode == 0

    def engine(self, workshop: str) -> None:
        """Search what the engine tells of a workshop: inspects and logs of all its containers."""
        for name in containers(workshop):
            self.look(f"inspect {name}", said("docker", "inspect", name))
            self.look(f"log {name}", said("docker", "logs", name))
        networks = said("docker", "network", "ls", "-q", "-f", f"label=workshop.name={workshop}")
        self.look("network", said("docker", "network", "inspect", *networks.decode().split()))

    def processes(self) -> None:
        """Search the arguments and variables of every process there is."""
        self.samples += 1
        for path in Path("/proc").iterdir():
            if not path.name.isdigit():
                continue
            try:
                arguments, variables = (
                    (path / "cmdline").read_bytes(),
                    (path / "environ").read_bytes(),
                )
            except OSError:
                continue
            whose = re.search(rb"(?:^|\0)WORKSHOP_PARTICIPANT=([a-z]+)", variables)
            self.look("arguments", arguments)
            self.look(f"variables {whose[1].decode() if whose else 'platform'}", variables)


class Watch:
    """Looks at all processes every 50 ms, for the length of a block."""

    def __init__(self, hunt: Hunt) -> None:
        self._hunt = hunt
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._hunt.processes()


def said(*command: str) -> bytes:
    """Run a command and give both of its streams."""
    done: Any = subprocess.run(command, capture_output=True, check=False, timeout=120)
    return bytes(done.stdout + done.stderr)


def containers(workshop: str) -> Iterator[str]:
    """Name a workshop's containers, running or not."""
    listed = said(
        *("docker", "ps", "-a", "--filter", f"label=workshop.name={workshop}"),
        *("--format", "{{.Names}}"),
    )
    yield from listed.decode().split()


def seats(workshop: str) -> dict[str, str]:
    """Map each participant to the id of the container."""
    listed = said(
        *("docker", "ps", "--filter", f"label=workshop.name={workshop}"),
        *("--filter", "label=workshop.role=seat"),
        *("--format", '{{.Label "workshop.participant"}} {{.ID}}'),
    )
    return dict(line.split() for line in listed.decode().splitlines())


def tags(workshop: str) -> list[str]:
    """Name a workshop's images."""
    listed = said("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").decode().split()
    return [tag for tag in listed if tag.startswith(f"{workshop}/")]
