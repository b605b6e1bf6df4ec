"""Take the text out of a PDF, page by page, in a process of its own.

A small PDF can unpack to gigabytes. So the work is done by a child with little memory and little
time: when it fails, the app does not.
"""

import io
import json
import subprocess
import sys
from itertools import islice

from app.retrieval.chunks import Section
from app.settings import HOME

SECONDS = 20
MEMORY = 120_000_000  # bytes of address space for the child
MOST_PAGES = 200
MOST_CHARACTERS = 1_000_000


class PdfError(Exception):
    """There is no way to read this PDF."""


def read_pdf(data: bytes) -> list[Section]:
    """Return a section for each page that has text."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=data,
            capture_output=True,
            timeout=SECONDS,
            check=True,
            cwd=HOME,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise PdfError from error
    pages = json.loads(done.stdout)
    return [Section(f"page {number}", text) for number, text in pages if text.strip()]


def limit_this_process() -> None:
    """Bound the memory of this process, where the system can."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def extract(data: bytes) -> list[tuple[int, str]]:
    """Return number and text of each page."""
    import pypdf  # noqa: PLC0415 - only the child needs it

    pages = []
    left = MOST_CHARACTERS
    reader = pypdf.PdfReader(io.BytesIO(data))
    for number, page in enumerate(islice(reader.pages, MOST_PAGES), start=1):
        text = page.extract_text().replace("\0", "")[:left]
        left -= len(text)
        pages.append((number, text))
    return pages


if __name__ == "__main__":
    limit_this_process()
    sys.stdout.write(json.dumps(extract(sys.stdin.buffer.read())))
