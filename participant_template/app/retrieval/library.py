"""All documents of the app: those in the folder `documents/` and those that visitors uploaded."""

from http import HTTPStatus
from pathlib import Path
from threading import Lock

from app.errors import ChatError
from app.retrieval.files import DocumentError, clean_name, find_files, read_chunks
from app.retrieval.index import BY_BOTH, BY_WORDS, Found, Index
from app.retrieval.store import Filter, Store, StoreError
from app.retrieval.vectors import make_vectors
from app.retrieval.words import Words
from app.settings import Settings
from app.shapes import Document, Overview

MOST_UPLOADS = 20
MOST_UPLOADED_BYTES = 1_500_000  # of all together


class Library:
    """The documents and their index."""

    def __init__(self, folder: Path, uploads: Path, index: Index, *, has_model: bool) -> None:
        self._folder = folder
        self._uploads = uploads
        self._index = index
        self._has_model = has_model
        self._uploading = Lock()

    def files(self) -> dict[str, Path]:
        """Return the file of each document by its name; the app's own come first."""
        own = {file.name: file for file in find_files(self._folder)}
        uploaded = {file.name: file for file in find_files(self._uploads)}
        return {**own, **{name: file for name, file in uploaded.items() if name not in own}}

    def search(self, question: str, where: Filter) -> Found:
        """Return what the documents say about a question."""
        try:
            return self._search(question, where)
        except StoreError:
            try:  # a damaged index is gone by now, and is made again
                return self._search(question, where)
            except StoreError as error:
                raise broken(error) from error

    def _search(self, question: str, where: Filter) -> Found:
        self._index.update(self.files())
        return self._index.search(question, where)

    def overview(self) -> Overview:
        """Return all documents, and how they are searched."""
        files = self.files()
        try:
            problems = self._index.update(files)
            indexed = self._index.sources()
            documents = [
                Document(
                    name=name,
                    uploaded=file.parent == self._uploads,
                    topic=self._index.topic_of(name),
                    chunks=indexed[name].chunks if name in indexed else 0,
                    search=BY_BOTH if name in self._index.with_vectors else BY_WORDS,
                    problem=problems.get(name, ""),
                )
                for name, file in files.items()
            ]
        except StoreError as error:
            raise broken(error) from error
        by_both = any(document.search == BY_BOTH for document in documents)
        return Overview(
            documents=documents,
            search=BY_BOTH if by_both else BY_WORDS,
            note=self._note(by_both=by_both),
        )

    def _note(self, *, by_both: bool) -> str:
        if not self._has_model:
            return "No model is connected, so documents are searched by words only."
        if self._index.trouble:
            return f"Documents are searched by words only just now: {self._index.trouble}"
        return "" if by_both else "Documents are being prepared; until then words count only."

    def upload(self, name: str, data: bytes) -> str:
        """Keep a visitor's document; return the name it got."""
        name = clean_name(name)
        with self._uploading:
            self._check_room(name, data)
            read_chunks(name, data)  # refuses what cannot be read
            try:
                self._uploads.mkdir(parents=True, exist_ok=True)
                half = self._uploads / f".{name}"
                half.write_bytes(data)
                half.replace(self._uploads / name)
            except OSError as error:
                raise ChatError(
                    "The document cannot be kept.",
                    "The app's disk is full or read-only: delete other documents.",
                    HTTPStatus.INSUFFICIENT_STORAGE,
                ) from error
        problem = self._index.update(self.files()).get(name)
        if problem:
            self.remove(name)
            raise DocumentError(problem, "Delete other documents first.")
        return name

    def _check_room(self, name: str, data: bytes) -> None:
        if (self._folder / name).exists():
            raise DocumentError(
                f"{name} is one of the app's own documents.",
                "Give your document another name.",
                HTTPStatus.CONFLICT,
            )
        others = [file for file in find_files(self._uploads) if file.name != name]
        size = len(data) + sum(file.stat().st_size for file in others)
        if len(others) >= MOST_UPLOADS or size > MOST_UPLOADED_BYTES:
            raise DocumentError(
                "There is no room for another document.",
                f"At most {MOST_UPLOADS} documents and {MOST_UPLOADED_BYTES // 1000:,} kB can be "
                "uploaded: delete some first.",
                HTTPStatus.INSUFFICIENT_STORAGE,
            )

    def remove(self, name: str) -> None:
        """Delete a visitor's document."""
        files = self.files()
        if name not in files:
            raise DocumentError(
                f"There is no document {name}.", "Look at /documents.", HTTPStatus.NOT_FOUND
            )
        if files[name].parent != self._uploads:
            raise DocumentError(
                f"{name} is one of the app's own documents.",
                "Delete the file in the folder documents/ and deploy again.",
                HTTPStatus.CONFLICT,
            )
        files[name].unlink(missing_ok=True)
        self._index.update(self.files())

    def close(self) -> None:
        """Stop what works in the background."""
        self._index.close()


def broken(error: StoreError) -> ChatError:
    """Say that the search does not work."""
    return ChatError("The documents cannot be searched just now.", f"Reason: {error}.")


def make_library(settings: Settings) -> Library:
    """Put the library together as the settings say."""
    data = settings.data_dir
    embedder = None
    if settings.openai_api_key:
        from app.retrieval.embeddings import Embeddings  # noqa: PLC0415 - a slow import

        embedder = Embeddings(settings)
    index = Index(Words(data / "words.db"), choose_vectors(settings), embedder)
    return Library(settings.documents_dir, data / "uploads", index, has_model=embedder is not None)


def choose_vectors(settings: Settings) -> Store:
    """Keep vectors at Pinecone for those who have a key, else in a file."""
    if settings.pinecone_api_key and settings.pinecone_index_host:
        from app.retrieval.pinecone_store import PineconeStore  # noqa: PLC0415 - optional

        return PineconeStore(
            settings.pinecone_api_key.get_secret_value(),
            settings.pinecone_index_host,
            namespace=settings.workshop_participant,
        )
    return make_vectors(settings.data_dir / "vectors.db")
