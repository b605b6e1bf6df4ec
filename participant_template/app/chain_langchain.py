"""The same chain written with LangChain: CHAIN=langchain, and requirements-langchain.txt installed.

LangChain's way is to join steps with `|`: the output of one is the input of the next, and pieces
stream through. Here the steps are a prompt template and our own model, so queue, retry and count of
tokens work as without it. `langchain-core` is all it needs.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, convert_to_openai_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableGenerator

from app.errors import ChatError
from app.events import Event
from app.model import Model
from app.prompts import Exchange, Prompt


class LangChain:
    """An assistant that is a chain."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer in small pieces."""
        values = {**prompt.values, "past": as_past(prompt.past)}
        async with aclosing(self.chain(prompt).astream(values)) as events:
            async for event in events:
                yield event

    def chain(self, prompt: Prompt) -> Runnable:
        """Join the steps; this is the line to play with."""
        return as_template(prompt) | RunnableGenerator(self.ask_model)

    async def ask_model(self, prompts: AsyncIterator[PromptValue]) -> AsyncIterator[Event]:
        """Be the last step: turn each prompt into the events of its answer."""
        async for prompt in prompts:
            async with aclosing(self._model.stream(as_openai(prompt))) as events:
                async for event in events:
                    yield event


def as_template(prompt: Prompt) -> ChatPromptTemplate:
    """Make LangChain's template from ours; both write placeholders in braces."""
    try:
        return ChatPromptTemplate(
            [
                ("system", prompt.instructions_template),
                MessagesPlaceholder("past"),
                ("human", prompt.question_template),
            ]
        )
    except ValueError as error:
        raise ChatError(
            f"LangChain does not understand a prompt template: {error}.",
            "Use {name}, {question} and {sources}; write {{ and }} for plain braces.",
        ) from error


def as_past(past: tuple[Exchange, ...]) -> list[AnyMessage]:
    """Write what was said before as LangChain's messages."""
    messages: list[AnyMessage] = []
    for exchange in past:
        messages += [HumanMessage(exchange.question), AIMessage(exchange.answer)]
    return messages


def as_openai(prompt: PromptValue) -> list[dict]:
    """Write LangChain's messages the way OpenAI's interface wants them."""
    return convert_to_openai_messages(prompt.to_messages())
