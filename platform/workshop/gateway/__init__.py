"""The class's one door to language models: keys in, budgets kept, answers streamed out.

A service of its own, in a container of its own. The command writes its configuration
(:mod:`workshop.gateway.config`) and reads its books (:mod:`workshop.gateway.ledger`); nothing else
of it is imported outside.
"""
