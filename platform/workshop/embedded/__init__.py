"""The embedded model service: a real, small model for a class without any API key.

It runs in a container of its own, where nothing else of this package exists. It refuses to be more
than a toy: no tools, no images, no keys. Only the gateway talks to it. Start reading at
:mod:`workshop.embedded.server`.
"""
