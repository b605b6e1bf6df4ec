"""What was said before.

A model remembers nothing by itself: we send it the past with each question. The past lives in this
process only, so a restart forgets everything.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

LONGEST_ANSWER = 8_000  # characters kept of one answer, so that memory stays small


class Exchange(NamedTuple):
    """One question and its answer."""

    question: str
    answer: str


class Memory:
    """The latest exchanges of the latest conversations; older ones are forgotten."""

    def __init__(self, conversations: int = 200, exchanges: int = 10) -> None:
        self._max_conversations = conversations
        self._max_exchanges = exchanges
        self._conversations: OrderedDict[str, deque[Exchange]] = OrderedDict()

    def recall(self, conversation: str) -> list[Exchange]:
        """Return what was said in this conversation, oldest first."""
        return list(self._conversations.get(conversation, ()))

    def remember(self, conversation: str, question: str, answer: str) -> None:
        """Add an exchange to a conversation; one without an id is not kept."""
        if not conversation:
            return
        exchanges = self._conversations.setdefault(conversation, deque(maxlen=self._max_exchanges))
        exchanges.append(Exchange(question, answer[:LONGEST_ANSWER]))
        self._conversations.move_to_end(conversation)
        if len(self._conversations) > self._max_conversations:
            self._conversations.popitem(last=False)
