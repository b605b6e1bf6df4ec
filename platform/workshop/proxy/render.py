"""Turn an `Edge` into files; writing them and reloading nginx is the publisher's work.

The templates loop and print, nothing more; what may be printed was decided in `routes`. An
undefined variable is an error, never an empty string in a live configuration.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from workshop.proxy.routes import Edge

SUFFIX = ".j2"
HASH_LENGTH = 16


def render(edge: Edge, templates: Path) -> Mapping[str, str]:
    """Every file of the edge by its name relative to the edge's directory, the same every time."""
    values = {"edge": edge, "config": fingerprint(edge, templates)}
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=_escaped,  # noqa: S701 - HTML is escaped; nginx.conf must not be
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return {
        name.removesuffix(SUFFIX): environment.get_template(name).render(values)
        for name in _names(templates)
        if not Path(name).name.startswith("_")
    }


def fingerprint(edge: Edge, templates: Path) -> str:
    """Name the configuration by what goes into it: the edge's values and the templates' bytes.

    Hashing the inputs tells in a millisecond or two whether anything would change, so an apply that
    changes nothing need not render. The edge answers it at `/healthz`: the running configuration
    is known, not assumed.
    """
    digest = hashlib.sha256(repr(edge).encode())
    for name in _names(templates):
        content = (templates / name).read_bytes()
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:HASH_LENGTH]


def _names(templates: Path) -> Iterator[str]:
    """Template names in a fixed order, the shared base included."""
    found = sorted(templates.rglob(f"*{SUFFIX}"))
    return (path.relative_to(templates).as_posix() for path in found)


def _escaped(template: str | None) -> bool:
    """HTML is escaped; nginx.conf holds only allow-listed values and would be broken by it."""
    return template is not None and template.endswith(f".html{SUFFIX}")
