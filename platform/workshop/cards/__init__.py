"""Handouts: a card for each participant, as pages to print and as a table for mail merge.

    cards.pdf    eight to a page, to print and cut
    cards.html   the same in a browser, with every sign its fonts have
    cards.csv    a row for each card

Keys or claim codes stand in all three; each is for its owner's eyes alone.
"""
