"""The participant's page: the own seat, and nothing of anybody else's.

Every address below ``/me`` takes the seat from the session, never from the request, so there is no
name to exchange for another one.
"""
