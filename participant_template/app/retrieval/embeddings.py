"""Ask the model service for vectors: texts alike in meaning get vectors that are near."""

from array import array

import openai

from app.explain import explain
from app.retrieval.keeper import EmbeddingsError
from app.retrieval.store import Vector
from app.settings import Settings


class Embeddings:
    """Turns texts into vectors."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
        self.model = settings.openai_embedding_model
        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=settings.openai_base_url,
            max_retries=0,  # indexing comes back by itself, and a question does not wait
        )

    def embed(self, texts: list[str], seconds: float = 30) -> list[Vector]:
        """Return a vector for each text, in so many seconds at most."""
        try:
            answer = self._client.embeddings.create(
                model=self.model, input=texts, encoding_format="float", timeout=seconds
            )
        except openai.OpenAIError as error:
            raise EmbeddingsError(str(explain(error, self.model, self._key))) from error
        vectors = [array("f", item.embedding) for item in answer.data]
        if len(vectors) != len(texts) or not all(vectors):
            raise EmbeddingsError(f"{self.model} did not answer with one vector for each text.")
        return vectors
