"""Counts what one answer used, from what passes by: the upstream's own count where it gives one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LONGEST_KEPT = 256 * 1024
_ABSURD = 2**48


@dataclass(frozen=True)
class Usage:
    """Tokens of one request."""

    input: int
    output: int


@dataclass
class Tally:
    """What is known so far about an answer under way."""

    keep_text: bool = False
    """Whether the answer is wanted for the record."""
    usage: Usage | None = None
    """The upstream's own count."""
    pieces: int = 0
    """Pieces of answer streamed, about one token each."""
    finished: bool = False
    """Whether the upstream gave a reason for the answer's end."""
    reason: str = ""
    plain: bool = True
    """Whether the answer is one text and nothing else."""
    _text: list[str] = field(default_factory=list)
    _kept: int = 0

    def take(self, piece: dict[str, Any]) -> bool:
        """Count one event; tell whether it holds more than the usage at the end."""
        if usage := read_usage(piece.get("usage")):
            self.usage = usage
        choices = piece.get("choices")
        if not isinstance(choices, list):
            return not usage
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice)
        return bool(choices) or not usage

    def take_whole(self, answer: dict[str, Any]) -> None:
        """Count an answer that came in one piece."""
        self.usage = read_usage(answer.get("usage"))
        for choice in answer.get("choices") or ():
            if isinstance(choice, dict):
                self._choice({**choice, "delta": choice.get("message")})
        if self.usage is None:
            self.pieces = len(str(answer.get("choices") or "")) // 4

    def text(self) -> str | None:
        """Return the answer, if it is one whole text that was kept."""
        whole = self.keep_text and self.plain and self.reason == "stop"
        return "".join(self._text) if whole and self._text else None

    def used(self, likely_input: int) -> Usage:
        """Tell what to charge: the upstream's count, or else an estimate."""
        return self.usage or Usage(likely_input, self.pieces)

    def _choice(self, choice: dict[str, Any]) -> None:
        if reason := choice.get("finish_reason"):
            self.finished, self.reason = True, str(reason)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        content, tools = delta.get("content"), delta.get("tool_calls")
        if content or tools or delta.get("reasoning_content") or delta.get("refusal"):
            self.pieces += 1
        if tools or choice.get("index", 0) != 0 or delta.get("refusal"):
            self.plain = False
        if self.keep_text and isinstance(content, str) and self._kept <= LONGEST_KEPT:
            self._kept += len(content)
            self.plain = self.plain and self._kept <= LONGEST_KEPT
            self._text.append(content)


def read_usage(usage: object) -> Usage | None:
    """Read an upstream's count; ``None`` if it is none."""
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage.get("prompt_tokens"))
    answer = _count(usage.get("completion_tokens", 0))
    return None if prompt is None or answer is None else Usage(prompt, answer)


def _count(value: object) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ABSURD
    return value if good and isinstance(value, int) else None
