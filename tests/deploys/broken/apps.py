"""Small broken apps, one or more for each cause the doctor knows, as beginners write them.

They are kept as texts: some cannot be parsed, and none would please a linter.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from workshop.limits import MIB, Limits

PYTHON = ("python3", "-u", "main.py")


@dataclass(frozen=True)
class App:
    """A broken app, and what is wrong with it."""

    name: str
    cause: str
    files: dict[str, str | bytes]
    command: tuple[str, ...] = PYTHON
    words: tuple[str, ...] = ()
    """What the finding must name."""
    sysctls: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)


SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words):
        pass

def answer(path):
    if path == "/whoami":
        me = {"participant": os.environ["WORKSHOP_PARTICIPANT"], "version": os.environ["WORKSHOP_VERSION"]}
        return 200, json.dumps(me)
    return 200, "ok"

def serve(host="0.0.0.0", port=8000):
    print(f"Serving HTTP on {host} port {port} (http://{host}:{port}/) ...")
    ThreadingHTTPServer((host, port), Handler).serve_forever()
"""


def main(text: str, **more: str | bytes) -> dict[str, str | bytes]:
    """Write a program that may use the little server beside it."""
    files = {name.replace("__", "."): content for name, content in more.items()}
    return {"server.py": SERVER, "main.py": textwrap.dedent(text).lstrip(), **files}


# An ELF header of a 64-bit ARM program and nothing after it.
ARM = bytes.fromhex("7f454c460201010000000000000000000200b7000100000078004000") + bytes(100)

WORKING = main("import server\nserver.serve()\n")

APPS = (
    App(
        "localhost",
        "listens-on-localhost",
        main("import server\nserver.serve('127.0.0.1')\n"),
        words=("127.0.0.1:8000", 'HTTPServer(("0.0.0.0", 8000), Handler)'),
    ),
    App(
        "localhost-by-command",
        "listens-on-localhost",
        {"index.html": "hello"},
        ("python3", "-m", "http.server", "8000", "--bind", "127.0.0.1"),
        words=('CMD ["python3", "-m", "http.server", "8000", "--bind", "0.0.0.0"]',),
    ),
    App(
        "ipv6-only",
        "listens-on-ipv6-only",
        main("""
            import socket, server
            from http.server import ThreadingHTTPServer
            class Six(ThreadingHTTPServer):
                address_family = socket.AF_INET6
                def server_bind(self):
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    super().server_bind()
            Six(("::", 8000), server.Handler).serve_forever()
        """),
        words=("[::]:8000",),
    ),
    App(
        "another-port",
        "listens-on-another-port",
        main("import server\nserver.serve('0.0.0.0', 5000)\n"),
        words=("port 5000", "PORT holds 8000"),
    ),
    App(
        "another-port-localhost",
        "listens-on-another-port",
        main("import server\nserver.serve('127.0.0.1', 7860)\n"),
        words=("port 7860", "only on localhost"),
    ),
    App(
        "exits",
        "exits-at-once",
        main("""
            import json

            def read_settings():
                return json.loads("not json")

            read_settings()
        """),
        words=("main.py:4", "JSONDecodeError: Expecting value", "exit status 1"),
    ),
    App(
        "ends-quietly",
        "exits-at-once",
        main("import server\nprint('ready to chat')\n"),
        words=("exit status 0", "must go on running"),
    ),
    App(
        "import-package",
        "import-error",
        main("import cv2\n", requirements__txt="pillow\n"),
        words=("cv2", "opencv-python-headless", "main.py:1"),
    ),
    App(
        "import-own",
        "import-error",
        main("import Server\nServer.serve()\n"),
        words=("server.py", "capital letters"),
    ),
    App(
        "hungry",
        "out-of-memory",
        main("numbers = [bytearray(1 << 20) for _ in range(1000)]\n"),
        words=("32 MiB",),
        spec={"limits": Limits(memory=32 * MIB, cpus=0.5, pids=32)},
    ),
    App(
        "arm",
        "wrong-architecture",
        {"app": ARM},
        ("/srv/app",),
        words=("linux/amd64",),
    ),
    App(
        "no-such-program",
        "no-such-file",
        WORKING,
        ("/srv/start.sh",),
        words=("/srv/start.sh",),
    ),
    App(
        "no-such-script",
        "no-such-file",
        WORKING,
        ("python3", "/srv/mian.py"),
        words=("/srv/mian.py", "Did you mean main.py?"),
    ),
    App(
        "no-such-data",
        "no-such-file",
        main("prices = open('prices.csv').read()\n"),
        words=("prices.csv", "main.py:1"),
    ),
    App(
        "writes",
        "needs-writable-root",
        main("with open('/srv/notes.txt', 'w') as file:\n    file.write('hello')\n"),
        words=("/srv/notes.txt", "DATA_DIR", "main.py:1"),
    ),
    App(
        "writes-database",
        "needs-writable-root",
        main("""
            import sqlite3
            database = sqlite3.connect("chat.db")
            database.execute("create table history (line text)")
        """),
        words=("database", "DATA_DIR"),
    ),
    App(
        "makes-directory",
        "needs-writable-root",
        WORKING,
        ("sh", "-c", "mkdir -p /srv/uploads && exec python3 main.py"),
        words=("/srv/uploads",),
    ),
    App(
        "syntax",
        "syntax-error",
        main("import server\nserver.serve('0.0.0.0'\n"),
        words=("main.py:2", "server.serve('0.0.0.0'"),
    ),
    App(
        "two-servers",
        "address-in-use",
        main("""
            import server
            from http.server import HTTPServer
            chat = HTTPServer(("0.0.0.0", 8000), server.Handler)
            server.serve()
        """),
        words=("two servers",),
    ),
    App(
        "unhealthy",
        "not-ready",
        main("""
            import server
            server.answer = lambda path: (503, "no connection to the database")
            server.serve()
        """),
        words=("503", "no connection to the database"),
    ),
    App(
        "not-http",
        "not-ready",
        main("""
            import socket
            door = socket.create_server(("0.0.0.0", 8000))
            while True:
                visitor, _ = door.accept()
                visitor.sendall(b"SSH-2.0-hello" + bytes([13, 10, 13, 10]))
                visitor.close()
        """),
        words=("not HTTP",),
    ),
    App(
        "deaf",
        "not-ready",
        main("""
            import socket, time
            door = socket.create_server(("0.0.0.0", 8000))
            print("loading")
            time.sleep(3600)
        """),
        words=("did not answer", "loading"),
    ),
    App(
        "sleeps",
        "silent",
        main("import time\nprint('loading the model ...')\ntime.sleep(3600)\n"),
        words=("loading the model ...",),
    ),
    App(
        "somebody-else",
        "wrong-identity",
        main("""
            import json, server
            me = {"participant": "bob", "version": "1"}
            server.answer = lambda path: (200, json.dumps(me) if path == "/whoami" else "ok")
            server.serve()
        """),
        words=("bob", "WORKSHOP_PARTICIPANT"),
    ),
    App(
        "port-80",
        "privileged-port",
        main("import server\nserver.serve('0.0.0.0', 80)\n"),
        words=("below 1024", "8000"),
        sysctls={"net.ipv4.ip_unprivileged_port_start": "1024"},
    ),
    App(
        "kills-itself",
        "killed",
        main("import os, signal\nprint('bye')\nos.kill(os.getpid(), signal.SIGKILL)\n"),
        words=("SIGKILL", "bye"),
    ),
    App(
        "no-such-user",
        "start-refused",
        WORKING,
        words=("unable to find user",),
        spec={"user": "marvin"},
    ),
)
