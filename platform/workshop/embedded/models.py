"""The model files in the image: their names, and the proof that they are the right ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path("/srv/models")


class WrongModelError(Exception):
    """A model file is missing or is not the one this service was written for."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Attributes:
        name: its name in the directory of models.
        sha256: the checksum of its content, in hexadecimal.

    """

    name: str
    sha256: str

    def verified(self, directory: Path = DIRECTORY) -> Path:
        """Return the file's path once its content has the right checksum.

        Raises:
            WrongModelError: it is missing, or its content is another.

        """
        path = directory / self.name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as exc:
            raise WrongModelError(f"{path}: {exc.strerror}; build the image anew") from exc
        if found != self.sha256:
            raise WrongModelError(
                f"{path}: the checksum is {found}, expected {self.sha256}; build the image anew"
            )
        return path


CHAT = ModelFile(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
WEIGHTS = ModelFile(
    "all-MiniLM-L6-v2.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TOKENIZER = ModelFile(
    "all-MiniLM-L6-v2.tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
FILES = (CHAT, WEIGHTS, TOKENIZER)
