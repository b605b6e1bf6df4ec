"""One JSON object a line, and never a reason to fail."""

from __future__ import annotations

import io
import json

from workshop.serving import log_to


def test_line_is_one_json_object() -> None:
    """Line ends inside a fact do not make a second line."""
    out = io.StringIO()
    log_to(out)("request", seat="ada", error="a\nb")
    (line,) = out.getvalue().splitlines()
    assert {**json.loads(line), "time": ""} == {
        "time": "",
        "event": "request",
        "seat": "ada",
        "error": "a\nb",
    }


def test_log_that_nobody_reads_harms_nothing() -> None:
    """A closed output is no fault of the request that is being logged."""
    out = io.StringIO()
    out.close()
    log_to(out)("request")
