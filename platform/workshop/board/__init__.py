"""The board: a service that shows the instructor everybody, and each participant the own seat.

It holds no engine socket and changes nothing itself. It reads what it is told
(:mod:`workshop.board.config`) and what the control process saw (:mod:`workshop.board.shown`), and
hands over wishes (:mod:`workshop.board.wishes`).
"""
