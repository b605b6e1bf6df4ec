"""Secrets for seats: kept encrypted beside the roster, handed to a seat as files in memory.

``cipher`` seals, ``keyfile`` finds the key, ``store`` is the file, ``delivery`` is what seats see.
"""
