"""Everything that can be set from outside, without touching the code."""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

HOME = Path(__file__).parents[1]  # the folder that holds app/, documents/ and prompts/
SECRETS = Path("/run/secrets")  # on the server: one file for each secret you are handed


class Settings(BaseSettings):
    """Each field is read from the variable of the same name: `greeting` from GREETING.

    The variables come from the environment, from the file `.env`, or from a file of that name in
    /run/secrets. The first of the three wins.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        env_ignore_empty=True,  # GREETING= counts as "not set"
        extra="ignore",  # .env may hold variables for others
        frozen=True,
    )

    greeting: str = "Hello"
    display_name: str | None = None

    openai_api_key: SecretStr | None = None  # a SecretStr prints as stars, so it stays out of logs
    openai_base_url: str | None = None
    openai_model: str = "gpt-5-mini"
    openai_embedding_model: str = "text-embedding-3-small"  # turns text into numbers, for search
    instructions: str | None = None  # instead of prompts/instructions.txt
    memory_tokens: int = 1000  # as much of the conversation goes to the model again
    chain: Literal["plain", "langchain"] = "plain"

    documents_dir: Path = HOME / "documents"
    data_dir: Path = Path("data")  # history, uploads and the index for search

    # Your own index at Pinecone, instead of the vectors in `data_dir`.
    pinecone_api_key: SecretStr | None = None
    pinecone_index_host: str | None = None

    # The workshop's server sets these two; on your own computer they keep their defaults.
    workshop_participant: str = "you"
    workshop_version: str = "local"

    @property
    def name(self) -> str:
        """The name people see."""
        return self.display_name or self.workshop_participant
