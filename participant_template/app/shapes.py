"""What the app takes in and gives out, as the docs page shows it. FastAPI checks both."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints


def in_utc(moment: datetime) -> datetime:
    """Say of a moment without a time zone that it is meant in UTC: SQLite keeps no zones."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Name = Annotated[str, StringConstraints(max_length=120)]
Moment = Annotated[datetime, AfterValidator(in_utc)]


class Question(BaseModel):
    """What the page sends."""

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    conversation: Annotated[str, StringConstraints(max_length=64)] = Field(
        default="", description="Any id you make up. Questions with the same id belong together."
    )
    documents: Annotated[list[Name], Field(max_length=100)] = Field(
        default=[], description='Documents to answer from; ["*"] for all. Empty: none.'
    )
    topics: Annotated[list[Name], Field(max_length=20)] = Field(
        default=[], description="Only from documents with one of these topics."
    )


class Conversation(BaseModel):
    """One line in the list of past conversations."""

    id: str
    title: str
    updated: Moment


class Citation(BaseModel):
    """Where an answer's [1] comes from."""

    number: int
    document: str
    section: str


class PastExchange(BaseModel):
    """One question of a past conversation, and its answer."""

    question: str
    answer: str
    model: str
    sources: list[Citation]


class Document(BaseModel):
    """A document the app can answer from."""

    name: str
    uploaded: bool = Field(description="By a visitor, who may delete it again.")
    topic: str
    chunks: int
    search: str = Field(description='"words and meaning", or "words" only.')
    problem: str = Field(description="Why it cannot be used; empty if it can.")


class Overview(BaseModel):
    """All documents, and how they are searched just now."""

    documents: list[Document]
    search: str
    note: str
