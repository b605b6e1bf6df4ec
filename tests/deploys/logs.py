"""What real programs write when they fail, and the cause each stands for."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

from workshop.deploys.diagnosis.evidence import ContainerState, Evidence, Listening, Said
from workshop.limits import MIB

ENDED = ContainerState(running=False, exit_code=1, restarts=1, directory="/srv")
RUNS = ContainerState(running=True, directory="/srv", command=("python", "main.py"))
BASE = Evidence("ada", "v7", 8000, 256 * MIB, state=ENDED, waited=30.0)


@dataclass(frozen=True)
class Case:
    """Evidence, and what it means."""

    name: str
    cause: str
    evidence: Evidence


def case(name: str, cause: str, log: str = "", **facts: object) -> Case:
    """Make a case out of a log and further facts."""
    lines = tuple(textwrap.dedent(log).strip("\n").splitlines())
    return Case(name, cause, replace(BASE, log=lines, **facts))  # type: ignore[arg-type]


UVICORN_LOCAL = """
    INFO:     Started server process [7]
    INFO:     Waiting for application startup.
    INFO:     Application startup complete.
    INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)
"""

CASES = (
    # -- where it listens
    case(
        "localhost-uvicorn",
        "listens-on-localhost",
        UVICORN_LOCAL,
        state=replace(RUNS, command=("uvicorn", "main:app", "--host", "127.0.0.1")),
        listening=(Listening("127.0.0.1", 8000),),
    ),
    case(
        "localhost-six",
        "listens-on-localhost",
        "Server ready",
        state=replace(RUNS, command=("node", "server.js")),
        listening=(Listening("::1", 8000), Listening("127.0.0.1", 9229)),
    ),
    case(
        "ipv6-only",
        "listens-on-ipv6-only",
        "INFO:     Uvicorn running on http://[::]:8000 (Press CTRL+C to quit)",
        state=RUNS,
        listening=(Listening("::", 8000),),
        silence="nothing listens on it",
    ),
    case(
        "another-port-flask",
        "listens-on-another-port",
        """
         * Serving Flask app 'main'
         * Debug mode: off
        WARNING: This is a development server. Do not use it in a production deployment.
         * Running on http://127.0.0.1:5000
        Press CTRL+C to quit
        """,
        state=RUNS,
        listening=(Listening("127.0.0.1", 5000),),
    ),
    case(
        "another-port-gradio",
        "listens-on-another-port",
        "* Running on local URL:  http://0.0.0.0:7860",
        state=RUNS,
        listening=(Listening("0.0.0.0", 7860),),
    ),
    case(
        "another-port-streamlit",
        "listens-on-another-port",
        """
          You can now view your Streamlit app in your browser.

          URL: http://0.0.0.0:8501
        """,
        state=replace(RUNS, command=("streamlit", "run", "app.py")),
        listening=(Listening("0.0.0.0", 8501),),
    ),
    # -- it ends
    case(
        "exits-missing-setting",
        "exits-at-once",
        """
        Traceback (most recent call last):
          File "/opt/venv/bin/uvicorn", line 8, in <module>
            sys.exit(main())
                     ^^^^^^
          File "/opt/venv/lib/python3.12/site-packages/uvicorn/main.py", line 412, in main
            run(
          File "/opt/venv/lib/python3.12/site-packages/uvicorn/importer.py", line 19, in import_from_string
            module = importlib.import_module(module_str)
          File "<frozen importlib._bootstrap>", line 1387, in _gcd_import
          File "/srv/app/main.py", line 12, in <module>
            secret = os.environ["MY_SETTING"]
                     ~~~~~~~~~~^^^^^^^^^^^^^^
          File "<frozen os>", line 714, in __getitem__
        KeyError: 'MY_SETTING'
        """,
    ),
    case(
        "exits-chained",
        "exits-at-once",
        """
        ERROR:    Traceback (most recent call last):
          File "/srv/app/db.py", line 7, in connect
            return driver.connect(URL)
          File "/opt/venv/lib/python3.12/site-packages/driver/__init__.py", line 99, in connect
            raise OSError("refused")
        OSError: refused

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "/opt/venv/lib/python3.12/site-packages/starlette/routing.py", line 693, in lifespan
            async with self.lifespan_context(app) as maybe_state:
          File "/srv/app/main.py", line 20, in lifespan
            connect()
          File "/srv/app/db.py", line 9, in connect
            raise RuntimeError("no database") from error
        RuntimeError: no database

        ERROR:    Application startup failed. Exiting.
        """,
        state=replace(ENDED, exit_code=3),
    ),
    case(
        "exits-settings",
        "exits-at-once",
        """
        Traceback (most recent call last):
          File "/srv/app/settings.py", line 14, in <module>
            settings = Settings()
          File "/opt/venv/lib/python3.12/site-packages/pydantic_settings/main.py", line 188, in __init__
            super().__init__(
        pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings
        pinecone_index
          Field required [type=missing, input_value={}, input_type=dict]
        """,
    ),
    case(
        "exits-gunicorn",
        "exits-at-once",
        """
        [2026-11-21 10:00:00 +0000] [7] [INFO] Starting gunicorn 23.0.0
        [2026-11-21 10:00:00 +0000] [7] [INFO] Listening at: http://0.0.0.0:8000 (7)
        [2026-11-21 10:00:00 +0000] [8] [ERROR] Exception in worker process
        Traceback (most recent call last):
          File "/opt/venv/lib/python3.12/site-packages/gunicorn/arbiter.py", line 608, in spawn_worker
            worker.init_process()
          File "/srv/main.py", line 5, in <module>
            prices = load(3)
          File "/srv/main.py", line 2, in load
            return 1 / (number - 3)
        ZeroDivisionError: division by zero
        [2026-11-21 10:00:01 +0000] [8] [INFO] Worker exiting (pid: 8)
        [2026-11-21 10:00:01 +0000] [7] [ERROR] Worker (pid:8) exited with code 3
        [2026-11-21 10:00:01 +0000] [7] [ERROR] Reason: Worker failed to boot.
        """,
        state=replace(ENDED, exit_code=3),
    ),
    case(
        "exits-node",
        "exits-at-once",
        """
        /srv/server.js:4
        const port = settings.port.number;
                                   ^

        TypeError: Cannot read properties of undefined (reading 'number')
            at Object.<anonymous> (/srv/server.js:4:28)
            at Module._compile (node:internal/modules/cjs/loader:1554:14)
            at node:internal/main/run_main_module:36:49

        Node.js v22.14.0
        """,
    ),
    case("exits-politely", "exits-at-once", "All done.", state=replace(ENDED, exit_code=0)),
    case("exits-wordless", "exits-at-once", "", state=replace(ENDED, exit_code=2)),
    case(
        "exits-not-executable",
        "exits-at-once",
        "[FATAL tini (7)] exec /srv/start.sh failed: Permission denied",
        state=replace(ENDED, exit_code=126),
    ),
    case(
        "killed-segfault",
        "killed",
        "loading the model",
        state=replace(ENDED, exit_code=139),
    ),
    case("killed", "killed", "", state=replace(ENDED, exit_code=137)),
    # -- code
    case(
        "import-cv2",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/app/main.py", line 3, in <module>
            import cv2
        ModuleNotFoundError: No module named 'cv2'
        """,
        requirements="fastapi\nuvicorn\n",
        files=("app/main.py", "requirements.txt"),
    ),
    case(
        "import-listed",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 1, in <module>
            from dotenv import load_dotenv
        ModuleNotFoundError: No module named 'dotenv'
        """,
        requirements="python-dotenv==1.0\n",
        files=("main.py", "requirements.txt"),
    ),
    case(
        "import-no-requirements",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 1, in <module>
            import yaml
        ModuleNotFoundError: No module named 'yaml'
        """,
        files=("main.py",),
    ),
    case(
        "import-own-file",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 2, in <module>
            from helper import greet
        ModuleNotFoundError: No module named 'helper'
        """,
        requirements="fastapi\n",
        files=("helpers.py", "main.py", "requirements.txt"),
    ),
    case(
        "import-uvicorn",
        "import-error",
        """
        INFO:     Will watch for changes in these directories: ['/srv']
        ERROR:    Error loading ASGI app. Could not import module "main".
        """,
        files=("app/main.py", "requirements.txt"),
        requirements="uvicorn\n",
    ),
    case(
        "import-name",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 1, in <module>
            from openai import OpenAI
          File "/srv/openai.py", line 1, in <module>
            from openai import OpenAI
        ImportError: cannot import name 'OpenAI' from partially initialized module 'openai' (most likely due to a circular import) (/srv/openai.py)
        """,
    ),
    case(
        "import-multipart",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 8, in <module>
            @app.post("/upload")
          File "/opt/venv/lib/python3.12/site-packages/fastapi/routing.py", line 958, in decorator
            self.add_api_route(
        RuntimeError: Form data requires "python-multipart" to be installed.
        """,
        requirements="fastapi\n",
    ),
    case(
        "import-system-library",
        "import-error",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 1, in <module>
            import cv2
        ImportError: libGL.so.1: cannot open shared object file: No such file or directory
        """,
    ),
    case(
        "import-node",
        "import-error",
        """
        node:internal/modules/cjs/loader:1228
          throw err;
          ^

        Error: Cannot find module 'express'
        Require stack:
        - /srv/server.js
            at Function._resolveFilename (node:internal/modules/cjs/loader:1225:15)
            at Object.<anonymous> (/srv/server.js:1:17) {
          code: 'MODULE_NOT_FOUND',
          requireStack: [ '/srv/server.js' ]
        }
        """,
    ),
    case(
        "syntax",
        "syntax-error",
        """
        Traceback (most recent call last):
          File "/opt/venv/lib/python3.12/site-packages/uvicorn/importer.py", line 19, in import_from_string
            module = importlib.import_module(module_str)
          File "/srv/app/main.py", line 31
            return {"status": "ok"
                   ^
        SyntaxError: '{' was never closed
        """,
    ),
    case(
        "syntax-indentation",
        "syntax-error",
        """
          File "/srv/main.py", line 4
            print("hello")
            ^
        IndentationError: expected an indented block after function definition on line 3
        """,
    ),
    case(
        "syntax-node",
        "syntax-error",
        """
        /srv/server.js:3
        const answer = ;
                       ^

        SyntaxError: Unexpected token ';'
            at wrapSafe (node:internal/modules/cjs/loader:1469:18)
            at node:internal/main/run_main_module:36:49

        Node.js v22.14.0
        """,
    ),
    # -- the image and the machine
    case(
        "memory",
        "out-of-memory",
        "loading all of the world's prices",
        state=replace(ENDED, exit_code=137, out_of_memory=True),
    ),
    case(
        "memory-node",
        "out-of-memory",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        state=replace(ENDED, exit_code=134),
    ),
    case(
        "architecture",
        "wrong-architecture",
        "[FATAL tini (7)] exec /usr/local/bin/python failed: Exec format error",
        state=replace(ENDED, exit_code=126),
    ),
    case(
        "no-program-refused",
        "no-such-file",
        state=None,
        refusal='OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "start.sh": executable file not found in $PATH: unknown',
    ),
    case(
        "no-program",
        "no-such-file",
        "[FATAL tini (7)] exec /srv/start.sh failed: No such file or directory",
        state=replace(ENDED, exit_code=127),
        files=("Start.sh", "main.py"),
    ),
    case(
        "no-script",
        "no-such-file",
        "python3: can't open file '/srv/app.py': [Errno 2] No such file or directory",
        state=replace(ENDED, exit_code=2),
        files=("main.py",),
    ),
    case(
        "no-node-script",
        "no-such-file",
        """
        node:internal/modules/cjs/loader:1228
          throw err;
          ^

        Error: Cannot find module '/srv/serve.js'
            at Function._resolveFilename (node:internal/modules/cjs/loader:1225:15)
            at node:internal/main/run_main_module:36:49 {
          code: 'MODULE_NOT_FOUND',
          requireStack: []
        }
        """,
        files=("server.js",),
    ),
    case(
        "no-data",
        "no-such-file",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 3, in <module>
            prices = open("data/prices.csv")
                     ^^^^^^^^^^^^^^^^^^^^^^^
        FileNotFoundError: [Errno 2] No such file or directory: 'data/prices.csv'
        """,
    ),
    case(
        "writes",
        "needs-writable-root",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 5, in <module>
            os.makedirs("/srv/uploads")
          File "<frozen os>", line 227, in makedirs
        OSError: [Errno 30] Read-only file system: '/srv/uploads'
        """,
    ),
    case(
        "writes-forbidden",
        "needs-writable-root",
        """
        Traceback (most recent call last):
          File "/srv/main.py", line 5, in <module>
            open("/var/log/app.log", "a")
        PermissionError: [Errno 13] Permission denied: '/var/log/app.log'
        """,
    ),
    case(
        "writes-database",
        "needs-writable-root",
        """
        Traceback (most recent call last):
          File "/srv/history.py", line 9, in start
            connection.execute(text)
        sqlite3.OperationalError: unable to open database file

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "/srv/main.py", line 3, in <module>
            history.start()
          File "/opt/venv/lib/python3.12/site-packages/sqlalchemy/engine/base.py", line 145, in __init__
            self._dbapi_connection = engine.raw_connection()
        sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) unable to open database file
        (Background on this error at: https://example.org/e3q8)
        """,
    ),
    case(
        "writes-node",
        "needs-writable-root",
        """
        node:fs:573
          return binding.open(
                         ^

        Error: EROFS: read-only file system, open '/srv/data.json'
            at Object.openSync (node:fs:573:18)
            at Object.<anonymous> (/srv/server.js:6:4) {
          errno: -30,
          code: 'EROFS',
        }
        """,
    ),
    # -- ports
    case(
        "privileged-uvicorn",
        "privileged-port",
        """
        INFO:     Application startup complete.
        ERROR:    [Errno 13] error while attempting to bind on address ('0.0.0.0', 80): permission denied
        INFO:     Waiting for application shutdown.
        """,
    ),
    case(
        "privileged-node",
        "privileged-port",
        """
        node:events:485
              throw er; // Unhandled 'error' event
              ^

        Error: listen EACCES: permission denied 0.0.0.0:80
            at Server.setupListenHandle [as _listen2] (node:net:1918:21)
            at Object.<anonymous> (/srv/server.js:9:8)
        """,
    ),
    case(
        "in-use-uvicorn",
        "address-in-use",
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
    ),
    case(
        "in-use-node",
        "address-in-use",
        """
        node:events:485
              throw er; // Unhandled 'error' event
              ^

        Error: listen EADDRINUSE: address already in use :::8000
            at Server.setupListenHandle [as _listen2] (node:net:1937:16)
            at Object.<anonymous> (/srv/server.js:9:8)
        """,
    ),
    # -- it runs
    case(
        "not-ready",
        "not-ready",
        'INFO:     10.86.0.1:1234 - "GET /healthz HTTP/1.1" 503 Service Unavailable',
        state=RUNS,
        answer=Said("/healthz", 503, '{"detail": "no database"}'),
    ),
    case(
        "not-ready-login",
        "not-ready",
        state=RUNS,
        answer=Said("/healthz", 302, ""),
    ),
    case(
        "not-ready-deaf",
        "not-ready",
        "loading",
        state=RUNS,
        listening=(Listening("0.0.0.0", 8000),),
        silence="no answer",
    ),
    case(
        "not-ready-https",
        "not-ready",
        state=RUNS,
        listening=(Listening("0.0.0.0", 8000),),
        silence="does not speak HTTP",
    ),
    case("silent", "silent", "Loading the model ...", state=RUNS, listening=()),
    case("silent-wordless", "silent", "", state=RUNS, listening=()),
    case(
        "silent-reloader",
        "import-error",
        """
        INFO:     Started reloader process [1] using StatReload
        Process SpawnProcess-1:
        Traceback (most recent call last):
          File "/srv/main.py", line 1, in <module>
            import openai
        ModuleNotFoundError: No module named 'openai'
        """,
        state=RUNS,
        listening=(),
        requirements="fastapi\n",
    ),
    case(
        "identity",
        "wrong-identity",
        state=RUNS,
        identity="leads to the seat of 'bob'",
        answer=Said("/whoami", 200, '{"participant": "bob", "version": "1"}'),
    ),
    # -- the engine
    case(
        "refused",
        "start-refused",
        state=None,
        refusal="unable to find user marvin: no matching entries in passwd file",
    ),
)
