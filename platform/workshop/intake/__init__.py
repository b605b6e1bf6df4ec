"""The intake: what faces participants who deploy. It holds no socket of the engine.

It gives out tokens for the registry, hears from the registry what was pushed, takes uploads, and
shows participants what became of their deploys. What it accepts it hands over as files
(:mod:`workshop.intake.orders`); what becomes of it, it reads back the same way.
"""
