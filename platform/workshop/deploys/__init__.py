"""Deploys: from a participant's change to a live app, without a moment of silence.

``serve`` is the one process that holds the engine's socket for longer than a command. It takes
orders (:mod:`workshop.intake.orders`), makes or fetches the image, starts it beside the old one,
proves it, moves the route, lets the old one drain, and says in plain words what went wrong.
"""
