"""Give every participant of a workshop a live, public app: one roster, one command.

The package has no import-time effects; start reading at :mod:`workshop.operations`.
"""

__version__ = "0.1.0"
