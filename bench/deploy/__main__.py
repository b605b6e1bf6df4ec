"""Deploys against the bare engine, and a whole class redeployed under load.

    python -m bench.deploy [--rounds 5] [--seats 30]

1. *Push* of a one-line change to live. The clock runs from the moment ``docker push`` returns, and a
   second one from the moment the push was announced, until the new version answers ``/p0/whoami``
   through the edge. *Bare*: ``docker pull`` of the digest of another such push, made while the server
   of deploys was held, then create and start with the same flags, until ``/healthz`` answers.
   The push comes from an engine of its own, as it would from a laptop: what it holds, the server's
   engine does not.
2. *Upload* of a zip with a one-line change, from the first byte sent until the new version answers
   as above. *Bare*: the classic ``docker build`` of the same change with a warm cache, create,
   start, ``/healthz``.
3. *All at once*: ``workshop deploy --all --image`` while every seat has an open stream of events and
   a client that asks five times a second. Counted are requests that failed and streams that ended
   before their time: an old version's stream may end ``drain_seconds`` after its seat's route has
   moved, no other may end at all.

Bare arms go through the engine's API, not through a command, and wait on the same machine. Both
arms of a round run one after the other, in an order that changes; what counts is the ratio within a
round. It needs root, for the second engine, which has a network namespace of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from bench.deploy import push, redeploy, upload  # noqa: E402 - the source tree is not installed here
from bench.deploy.room import Room  # noqa: E402


def main() -> None:
    """Provision, measure, tear down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seats", type=int, default=30)
    parser.add_argument("--only", choices=["push", "upload", "redeploy"], help="one of the three")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workshop-bench-") as name:
        room = Room(Path(name), options.seats)
        room.write()
        try:
            room.run("provision")
            if options.only in {None, "push"}:
                push.measure(room, options.rounds)
            if options.only in {None, "upload"}:
                upload.measure(room, options.rounds)
            if options.only in {None, "redeploy"}:
                redeploy.measure(room)
        finally:
            room.run("teardown", "--yes")


if __name__ == "__main__":
    main()
