"""What ``serve`` sees of the class while it deploys, written down for the board and the terminal.

The engine tells how containers fare, the kernel what they use, the edge's log who asked them for
what, the gateway's books what their models cost, and the journal what became of deploys. One module
each; :mod:`workshop.watching.watcher` puts them together. No app is ever asked for anything.
"""
