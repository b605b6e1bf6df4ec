"""Who signs tokens, and for whom.

Apart from the signing itself, because every command writes these words into the registry's
configuration and need not pay for cryptography.
"""

from __future__ import annotations

ISSUER = "workshop-intake"
SERVICE = "workshop-registry"
"""Whom tokens are for; docker repeats it when it asks for one."""
