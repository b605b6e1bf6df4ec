"""The way to a Docker engine: one client, and its exceptions turned into ours.

The client asks again, a few times and with growing pauses, where the engine broke off or was busy
and asking twice does no harm: reading, starting, stopping, removing. Making something is repeated
by :func:`again` alone, which first looks whether it was made. A call that got no answer in time is
never repeated: an engine that hangs would hang again.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, StreamParseError
from docker.errors import NotFound as DockerNotFound
from docker.utils import kwargs_from_env
from docker.utils.socket import SocketError

from workshop.errors import Conflict, EngineError, EngineSilent, EngineUnreachable, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

CALL_SECONDS = 30
"""Longest silence of one API call; a hung engine must end in an error, not in a wait."""
BUILD_SECONDS = 600
"""Longest silence of a build or pull: installing packages can be quiet for minutes."""
MAX_CONNECTIONS = 16
_CONFLICT = 409
_PASSING = frozenset({500, 502, 503, 504})
_BODILESS = frozenset({101, 204, 304})
_PAUSES = (0.1, 0.3, 0.8, 2.0)
"""Seconds before the second and each further try; up to half more or less, so that those who failed
together do not come back together. Enough for an engine that is started anew by its supervisor."""
_FEW = 2
"""Pauses after an answer that seldom changes; the last word is then the engine's own."""
_REPEATABLE = re.compile(
    r"(GET|HEAD|DELETE) .*"
    r"|POST .*/containers/[^/?]+/(start|stop|restart|wait|unpause|exec)(\?.*)?"
    r"|POST .*/images/.+/tag(\?.*)?"
)
_LEAVING = re.compile("already in progress|active endpoints|marked for removal")
_TAKEN = re.compile("is already in use by container")
BROKEN_OFF = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.InvalidJSONError,
    requests.exceptions.BaseHTTPError,  # type: ignore[attr-defined]  # urllib3's, while a body is read
    ConnectionError,
    SocketError,
    StreamParseError,
)
_NOBODY = re.compile("FileNotFoundError|No such file|Connection refused|Permission denied")


_one_removal = threading.Lock()


def forget_image(client: docker.APIClient, reference: str) -> None:
    """Drop one name of an image, which goes with its last one; none is no fault.

    One at a time: an engine that removes names of one image, or of its parent, at once answers
    "unrecognized image ID" and may leave an image without any name, which nobody finds any more
    (seen with 20.10).
    """
    with _one_removal, contextlib.suppress(NotFound), mapped():
        client.remove_image(reference)


def connect(
    base_url: str | None, seconds: int, like: docker.APIClient | None = None
) -> docker.APIClient:
    """Open a client of the engine's API; ``seconds`` is the longest silence of one call.

    The engine is asked for the version to speak, unless another client has done so already: one
    with a long patience would have it for this first question too.
    """
    version = "auto" if like is None else like.api_version
    there: Any = kwargs_from_env() if base_url is None else {"base_url": base_url}
    with mapped():
        return _PatientClient(
            timeout=seconds, max_pool_size=MAX_CONNECTIONS, version=version, **there
        )


class _PatientClient(docker.APIClient):
    """Repeats what may be repeated."""

    _has_answered = False

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401 - the session's own options
        """Make one request, or the same one again after it broke off or met a busy engine."""
        pauses = list(_pauses()) if _REPEATABLE.fullmatch(f"{method!s} {url!s}") else []
        for tried in range(len(pauses) + 1):
            try:
                answer = _whole(super().request(method, url, **options))
            except BROKEN_OFF as exc:
                # Where nobody has answered yet, nobody is there: that is told at once.
                absent = _NOBODY.search(str(exc)) and not self._has_answered
                if absent or tried == len(pauses) or _timed_out(exc):
                    raise
            else:
                self._has_answered = True
                if tried >= min(_patience(answer), len(pauses)):
                    return answer
                answer.close()
            time.sleep(pauses[tried])
        raise AssertionError  # the last try returns or raises


def _whole(answer: requests.Response) -> requests.Response:
    """Refuse an answer whose head is cut short: it would pass for one without a body.

    The engine always says how long an answer is, except before a raw connection.
    """
    if answer.request.method == "HEAD":
        return answer
    length = answer.headers.get("Content-Length", "")
    raw = answer.status_code in _BODILESS or "raw-stream" in answer.headers.get("Content-Type", "")
    if raw or length.isdecimal() or answer.headers.get("Transfer-Encoding") == "chunked":
        return answer
    answer.close()
    raise requests.exceptions.ConnectionError("its answer broke off")


def again(call: Callable[[], T], made: Callable[[], T | None]) -> T:
    """Make something; after a failure that may pass, look whether it was ``made``, else repeat.

    Never blindly: an engine that breaks off may have done it, and names of networks are not unique.
    """
    uncertain = False
    for tried, pause in enumerate(_pauses()):
        try:
            return call()
        except BROKEN_OFF as exc:
            if _timed_out(exc):
                raise
            uncertain = True
        except APIError as exc:
            if exc.response is None or tried >= _patience(exc.response):
                raise
            uncertain = uncertain or exc.response.status_code in _PASSING
        # A name that is refused in so many words belongs to somebody else.
        if uncertain and (found := made()) is not None:
            return found
        time.sleep(pause)
    return call()


def _pauses() -> Iterator[float]:
    return (pause * random.uniform(0.5, 1.5) for pause in _PAUSES)  # noqa: S311 - spread, no secret


def _patience(answer: requests.Response) -> int:
    """Say after how many pauses an answer is the last word."""
    if answer.ok or answer.status_code == requests.codes.not_found:
        return 0
    if answer.status_code in _PASSING:
        return _FEW
    text = answer.text
    if _LEAVING.search(text):
        return len(_PAUSES)
    return _FEW if _TAKEN.search(text) else 0


def _timed_out(exc: Exception) -> bool:
    return isinstance(exc, (requests.exceptions.Timeout, TimeoutError)) or "timed out" in str(exc)


@contextlib.contextmanager
def mapped() -> Iterator[None]:
    """Turn the SDK's exceptions into ours, most specific first."""
    try:
        yield
    except DockerNotFound as exc:
        raise NotFound(_sentence(exc)) from exc
    except APIError as exc:
        kind = Conflict if exc.status_code == _CONFLICT else EngineError
        raise kind(_sentence(exc)) from exc
    except (DockerException, requests.RequestException, TimeoutError, *BROKEN_OFF) as exc:
        raise _unreachable(exc) from exc


def _sentence(exc: APIError) -> str:
    return str(exc.explanation or exc).strip()


def _unreachable(exc: Exception) -> EngineUnreachable:
    text = str(exc)
    if _timed_out(exc):
        return EngineSilent(
            f"the Docker engine did not answer within {CALL_SECONDS} s",
            hint="look at its log: journalctl -u docker",
        )
    endpoint = os.environ.get("DOCKER_HOST", "its usual socket")
    if "Permission denied" in text:
        return EngineUnreachable(
            "this user may not talk to the Docker engine",
            hint="sudo usermod -aG docker $USER, then log in again",
        )
    if "FileNotFoundError" in text or "No such file" in text or "Connection refused" in text:
        return EngineUnreachable(
            f"no Docker engine answers at {endpoint}",
            hint="start it (sudo systemctl start docker) or run scripts/ensure-engine",
        )
    return EngineUnreachable(f"the Docker engine broke off: {text[:200]}", hint="`workshop doctor`")
