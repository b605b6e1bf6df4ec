"""Documents: listed, uploaded, deleted, searched, cited."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app_helpers import Upstream, ask, make_settings, only, text_of
from fastapi.testclient import TestClient

from app import main, parts
from app.retrieval import index, keeper, library
from app.retrieval.files import MOST_BYTES
from app.retrieval.library import Library

TEA = (
    "topic: kitchen\n# Tea\n\n## Green\n\nGreen tea needs eighty degrees.\n\n## Black\n\nBoil it.\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the app two documents of its own."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "tea.md").write_text(TEA, "utf-8")
    (folder / "ships.txt").write_text("The brig Marigold carried herring.", "utf-8")
    change_settings(monkeypatch, documents_dir=folder)
    monkeypatch.setattr(keeper, "FIRST_PAUSE", 0.05)
    return folder


def change_settings(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    """Change some settings of the app."""
    monkeypatch.setattr(main, "settings", main.settings.model_copy(update=fields))


@pytest.fixture
def model(upstream: Upstream, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """Connect the fake model, which makes vectors too."""
    change_settings(monkeypatch, documents_dir=folder)
    return upstream


def upload(client: TestClient, name: str, data: bytes | str) -> Any:  # noqa: ANN401 - a response
    """Send a document."""
    return client.post("/documents", params={"name": name}, content=data)


def listed(client: TestClient) -> dict[str, dict[str, Any]]:
    """Return all documents by name."""
    return {one["name"]: one for one in client.get("/documents").json()["documents"]}


def wait_for(happened: Callable[[], object], seconds: float = 10) -> None:
    """Wait for what a thread does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def by_meaning(client: TestClient) -> bool:
    """Tell whether all documents have their vectors."""
    return {one["search"] for one in listed(client).values()} == {"words and meaning"}


def test_documents_of_the_app_are_listed(client: TestClient) -> None:
    """Name, topic, size, and how each is searched; without a model by words only."""
    overview = client.get("/documents").json()

    assert overview["search"] == "words"
    assert overview["note"].startswith("No model is connected")
    assert overview["documents"][1] == {
        "name": "tea.md",
        "uploaded": False,
        "topic": "kitchen",
        "chunks": 2,
        "search": "words",
        "problem": "",
    }


def test_documents_shipped_with_the_app_are_all_readable(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder documents/ has no document the app cannot use."""
    monkeypatch.setattr(main, "settings", make_settings())

    documents = listed(client)

    assert len(documents) >= 3
    assert not [one for one in documents.values() if one["problem"] or not one["chunks"]]


def test_chat_with_documents_sends_and_cites_the_sources(client: TestClient) -> None:
    """What was found reaches the page and the prompt, with the same number."""
    events = ask(client, "How hot for green tea?", documents=["*"])

    found = only(events, "sources")
    assert found["search"] == "words"
    assert found["sources"][0] == {
        "number": 1,
        "document": "tea.md",
        "section": "Green",
        "text": "Green tea needs eighty degrees.",
    }
    prompt = only(events, "context")["messages"][-1]["content"]
    assert "[1] (tea.md, Green) Green tea needs eighty degrees." in prompt
    assert "Question: How hot for green tea?" in prompt
    assert '[1] "Green tea needs eighty degrees."' in text_of(events)


def test_chat_without_documents_searches_nothing(client: TestClient) -> None:
    """Plain questions stay plain."""
    events = ask(client, "How hot for green tea?")

    assert "sources" not in [name for name, _ in events]
    assert only(events, "context")["messages"][-1]["content"] == "How hot for green tea?"
    assert parts.load_library.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"documents": ["ships.txt"]}, {"ships.txt"}),
        ({"documents": ["*"], "topics": ["kitchen"]}, {"tea.md"}),
        ({"topics": ["kitchen"]}, {"tea.md"}),
        ({"documents": ["nowhere.md"]}, set()),
    ],
)
def test_chat_filter_reaches_the_search(
    client: TestClient, chosen: dict[str, list[str]], expected: set[str]
) -> None:
    """Only chosen documents and topics are searched."""
    found = only(ask(client, "green tea or Marigold herring?", **chosen), "sources")

    assert {source["document"] for source in found["sources"]} == expected


def test_upload_is_found_cited_kept_and_deleted(client: TestClient, tmp_path: Path) -> None:
    """A visitor's document works at once and goes when it is deleted."""
    response = upload(client, "cocoa.md", "# Cocoa\n\nCocoa needs a pinch of salt.")

    assert (response.status_code, response.json()) == (201, {"name": "cocoa.md"})
    assert listed(client)["cocoa.md"]["uploaded"]
    found = only(ask(client, "What does cocoa need?", "a", documents=["cocoa.md"]), "sources")
    assert found["sources"][0]["text"] == "Cocoa needs a pinch of salt."
    assert client.get("/conversations/a").json()[0]["sources"] == [
        {"number": 1, "document": "cocoa.md", "section": "Cocoa"}
    ]
    assert client.delete("/documents/cocoa.md").status_code == 204
    assert "cocoa.md" not in listed(client)
    assert only(ask(client, "cocoa salt?", documents=["*"]), "sources")["sources"] == []
    assert list((tmp_path / "data/uploads").iterdir()) == []


def test_upload_again_replaces(client: TestClient) -> None:
    """The same name is the same document."""
    upload(client, "a.txt", "old words")
    upload(client, "a.txt", "new words")

    found = only(ask(client, "old new words", documents=["a.txt"]), "sources")["sources"]
    assert [source["text"] for source in found] == ["new words"]


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("../../etc/notes.txt", "notes.txt"),
        ("..\\..\\notes.md", "notes.md"),
        ("<img src=x onerror=alert(1)>.txt", "_img src_x onerror_alert(1)_.txt"),
        (".hidden.txt", "hidden.txt"),
        ("Größe 1.TXT", "Größe 1.txt"),
        ("x" * 150 + ".txt", "x" * 80 + ".txt"),
        ("a\x00\nb.txt", "a__b.txt"),
    ],
)
def test_upload_name_is_made_harmless(
    client: TestClient, tmp_path: Path, name: str, cleaned: str
) -> None:
    """No folder, no markup, no invisible character survives."""
    assert upload(client, name, "words").json() == {"name": cleaned}
    assert [file.name for file in (tmp_path / "data/uploads").iterdir()] == [cleaned]


@pytest.mark.parametrize(
    ("name", "data", "status", "words"),
    [
        ("a.exe", b"x", 422, "kind of document"),
        ("noending", b"x", 422, "kind of document"),
        (".txt", b"x", 422, "kind of document"),
        ("a.txt", b"", 422, "no text"),
        ("a.txt", b" \n ", 422, "no text"),
        ("a.txt", b"caf\xe9", 422, "not UTF-8"),
        ("a.txt", b"a\x00b", 422, "not text"),
        ("a.pdf", b"%PDF-1.7 nonsense", 422, "PDF cannot be read"),
        ("a.txt", b"x" * (MOST_BYTES + 1), 413, "too large"),
        ("tea.md", b"mine", 409, "own documents"),
        ("x" * 201, b"x", 422, "name"),
    ],
)
def test_upload_refused_is_explained_and_leaves_nothing(
    client: TestClient, name: str, data: bytes, status: int, words: str
) -> None:
    """Each reason has its sentence."""
    response = upload(client, name, data)

    assert response.status_code == status
    assert words in response.json()["error"]["message"]
    assert response.json()["error"]["hint"]
    assert not list(Path("data").glob("uploads/*"))


def test_upload_beyond_the_bounds_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number, size of all together, and pieces of all together are bounded."""
    monkeypatch.setattr(library, "MOST_UPLOADS", 2)
    upload(client, "a.txt", "one")
    upload(client, "b.txt", "two")

    assert upload(client, "c.txt", "three").status_code == 507
    assert upload(client, "b.txt", "two again").status_code == 201
    monkeypatch.setattr(library, "MOST_UPLOADED_BYTES", 40)
    assert upload(client, "b.txt", "x" * 40).status_code == 507
    monkeypatch.setattr(index, "MOST_CHUNKS", 5)
    refused = upload(client, "b.txt", "Words.\n# H\nx\n# H\nx")
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        422,
        "There are too many documents.",
    )


def test_upload_on_a_full_disk_is_explained(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk refuses is a sentence."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    assert upload(client, "a.txt", "words").status_code == 507


@pytest.mark.parametrize(("name", "status"), [("nowhere.md", 404), ("tea.md", 409)])
def test_delete_of_what_nobody_uploaded_is_explained(
    client: TestClient, name: str, status: int
) -> None:
    """Only uploads can be deleted."""
    response = client.delete(f"/documents/{name}")

    assert response.status_code == status
    assert response.json()["error"]["hint"]
    assert "tea.md" in listed(client)


def test_documents_that_cannot_be_read_do_not_stop_the_others(
    client: TestClient, folder: Path
) -> None:
    """A bad file in documents/ is named, with the reason."""
    (folder / "bad.txt").write_bytes(b"caf\xe9")

    documents = listed(client)

    assert documents["bad.txt"]["problem"] == "The document is not UTF-8 text."
    assert documents["tea.md"]["problem"] == ""


def test_pdf_is_read_page_by_page(client: TestClient) -> None:
    """The page is the section, so a citation names it."""
    upload(client, "two.pdf", make_pdf(["Cocoa needs salt.", "Coffee needs grinding."]))

    found = only(ask(client, "What about coffee?", documents=["two.pdf"]), "sources")["sources"]

    assert [(one["section"], one["text"]) for one in found] == [
        ("page 2", "Coffee needs grinding.")
    ]


def make_pdf(pages: list[str]) -> bytes:
    """Write a small PDF by hand."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for text in pages:
        stream = f"BT /F1 24 Tf 50 700 Td ({text}) Tj ET"
        kids.append(f"{len(objects) + 1} 0 R")
        font = "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] "
            f"/Contents {len(objects) + 2} 0 R /Resources << {font} >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    data = b"%PDF-1.4\n"
    places = []
    for number, text in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}"
    end += f"trailer << /Size {count} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


def test_vectors_are_fetched_in_the_background_once(client: TestClient, model: Upstream) -> None:
    """Words count at once, meaning a little later; what did not change is not embedded again."""
    client.get("/documents")
    wait_for(lambda: by_meaning(client))
    before = len(model.embedded)

    found = only(ask(client, "green tea", documents=["*"]), "sources")
    upload(client, "cocoa.md", "Cocoa needs salt.")
    wait_for(lambda: by_meaning(client))

    assert before == 3
    assert found["search"] == "words and meaning"
    assert model.embedded[before:] == ["green tea", "\nCocoa needs salt."]
    assert client.get("/documents").json()["note"] == ""


def test_vectors_survive_a_restart(client: TestClient, model: Upstream) -> None:
    """The files are still there, so nothing is embedded again."""
    client.get("/documents")
    wait_for(lambda: by_meaning(client))
    parts.load_library(main.settings).close()
    parts.load_library.cache_clear()

    client.get("/documents")
    wait_for(lambda: by_meaning(client))

    assert len(model.embedded) == 3


def test_vectors_unavailable_are_tried_again_and_words_go_on(
    client: TestClient, model: Upstream
) -> None:
    """A service that is down costs the meaning only, and is asked until it answers."""
    model.embeddings_status = 503

    wait_for(lambda: "problem of its own" in client.get("/documents").json()["note"])
    events = ask(client, "green tea", documents=["*"])

    assert only(events, "sources")["search"] == "words"
    assert only(events, "sources")["sources"]
    assert "sk-secret" not in client.get("/documents").text
    model.embeddings_status = 200
    wait_for(lambda: by_meaning(client))


def test_vectors_of_a_long_document_go_on_where_they_broke_off(
    client: TestClient, model: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is too fast for its pace gets there in pieces, and asks nothing twice."""
    monkeypatch.setattr(keeper, "BATCH", 2)
    monkeypatch.setattr(keeper, "BATCH_PAUSE", 0.01)
    model.embeddings_each_minute = 3
    upload(client, "long.md", "\n".join(f"# Part {n}\nText number {n}." for n in range(20)))

    wait_for(lambda: by_meaning(client))

    embedded = [text for text in model.embedded if text.startswith("Part")]
    assert len(embedded) == len(set(embedded)) == 20
    assert model.refused_embeddings > 0


def test_search_with_vectors_gone_falls_back_to_words(client: TestClient, model: Upstream) -> None:
    """The service may stop after the index is whole."""
    client.get("/documents")
    wait_for(lambda: by_meaning(client))
    model.embeddings_status = 500

    found = only(ask(client, "green tea", documents=["*"]), "sources")

    assert (found["search"], found["sources"][0]["section"]) == ("words", "Green")


def test_healthz_answers_while_vectors_are_missing(client: TestClient, model: Upstream) -> None:
    """Indexing never stands in the way."""
    model.embeddings_status = 503
    client.get("/documents")

    begin = time.monotonic()
    assert client.get("/healthz").status_code == 200
    assert time.monotonic() - begin < 1


def test_search_with_a_damaged_index_makes_it_anew(client: TestClient, tmp_path: Path) -> None:
    """The documents are the truth, the index is not."""
    client.get("/documents")
    (tmp_path / "data/words.db").write_bytes(b"no database" * 1000)

    events = ask(client, "green tea", documents=["*"])

    assert only(events, "sources")["sources"][0]["document"] == "tea.md"


def test_search_that_cannot_work_is_noticed_and_the_answer_comes(
    client: TestClient, tmp_path: Path
) -> None:
    """Without any index the chat goes on, and says so."""
    (tmp_path / "data").write_text("a file where the folder should be")

    events = ask(client, "green tea", documents=["*"])

    assert events[0][0] == "notice"
    assert "cannot be searched" in events[0][1]["message"]
    assert events[-1][0] == "done"
    assert client.get("/documents").status_code == 503


def test_changed_and_removed_files_are_noticed(client: TestClient, folder: Path) -> None:
    """Editing documents/ needs no restart."""
    client.get("/documents")
    (folder / "tea.md").write_text("# Tea\n\nNow about coffee.", "utf-8")
    (folder / "ships.txt").unlink()

    assert set(listed(client)) == {"tea.md"}
    found = only(ask(client, "coffee", documents=["*"]), "sources")["sources"]
    assert [one["text"] for one in found] == ["Now about coffee."]
    assert isinstance(parts.load_library(main.settings), Library)
