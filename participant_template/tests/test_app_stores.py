"""One contract, every store: words, vectors with and without sqlite-vec, and Pinecone."""

import random
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from app_helpers import bag_of_words
from fake_pinecone import FakePinecone

from app.retrieval import database, vectors
from app.retrieval.store import EVERYTHING, Chunk, Filter, Query, Store, Stored, StoreError
from app.retrieval.vectors import Scan, SqliteVec, find_extension
from app.retrieval.words import Words


def vector(text: str) -> array:
    """Return the vector of a text."""
    return array("f", bag_of_words(text))


def chunk(source: str, number: int, text: str, **more: str) -> Chunk:
    """Return a chunk with its vector."""
    known = {"section": "One", "topic": "tea", "version": "v1", **more}
    return Chunk(source=source, number=number, text=text, vector=vector(text), **known)


def query(text: str) -> Query:
    """Return a question as every store understands it."""
    return Query(text, vector(text))


def use_sqlite_that_loads_extensions(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of sqlite-vec; where Python's own SQLite cannot load it, take another."""
    if find_extension() is None:
        sqlite = pytest.importorskip(
            "pysqlite3.dbapi2", reason="this Python's SQLite loads no extensions: pysqlite3-binary"
        )
        for module in (database, vectors):
            monkeypatch.setattr(module, "sqlite3", sqlite)
    extension = find_extension()
    if extension is None:
        pytest.skip("sqlite-vec is not installed")
    return extension


@pytest.fixture
def pinecone() -> Iterator[FakePinecone]:
    """Start the fake service."""
    fake = FakePinecone()
    Thread(target=fake.serve_forever, args=(0.01,), daemon=True).start()
    yield fake
    fake.shutdown()
    fake.server_close()


@pytest.fixture(params=["words", "scan", "sqlite-vec", "pinecone"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Open an empty store of each kind."""
    match request.param:
        case "words":
            return Words(tmp_path / "words.db")
        case "scan":
            return Scan(tmp_path / "scan.db")
        case "sqlite-vec":
            extension = use_sqlite_that_loads_extensions(monkeypatch)
            return SqliteVec(tmp_path / "vec.db", extension)
        case _:
            return open_pinecone(request.getfixturevalue("pinecone"))


def open_pinecone(service: FakePinecone, key: str = "secret") -> Store:
    """Connect to the fake service with the official client."""
    pytest.importorskip("pinecone", reason="optional: pip install -r requirements-pinecone.txt")
    from app.retrieval.pinecone_store import PineconeStore  # noqa: PLC0415 - needs the client

    return PineconeStore(key, service.url, namespace="ada")


TEA = [
    chunk("tea.md", 1, "green tea needs eighty degrees"),
    chunk("tea.md", 2, "black tea needs boiling water", section="Two"),
]
SHIPS = [chunk("ships.md", 1, "the brig Marigold carried black herring", topic="sea")]


def test_store_empty_finds_and_holds_nothing(store: Store) -> None:
    """A search before the first document is no error."""
    assert store.search(query("tea"), EVERYTHING, 5) == []
    assert store.sources() == {}
    store.delete("tea.md")


def test_store_returns_chunks_whole_and_the_best_first(store: Store) -> None:
    """Everything known of a chunk comes back."""
    store.add(TEA)
    store.add(SHIPS)

    found = store.search(query("black tea boiling"), EVERYTHING, 5)

    assert replace(found[0], vector=None) == replace(TEA[1], vector=None)
    assert store.search(query("brig Marigold"), EVERYTHING, 1)[0].source == "ships.md"


def test_store_limit_is_kept(store: Store) -> None:
    """No more chunks than wanted."""
    store.add([chunk("many.md", number, f"tea number {number}") for number in range(1, 30)])

    assert len(store.search(query("tea"), EVERYTHING, 7)) == 7


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(sources=("ships.md",)), {("ships.md", 1)}),
        (Filter(sources=("ships.md", "tea.md"), topics=("tea",)), {("tea.md", 1), ("tea.md", 2)}),
        (Filter(topics=("sea",)), {("ships.md", 1)}),
        (Filter(sections=("Two",)), {("tea.md", 2)}),
        (Filter(sources=("tea.md",), sections=("One",)), {("tea.md", 1)}),
        (Filter(sources=("tea.md",), topics=("sea",)), set()),
        (Filter(sources=("x' OR 1=1 --",)), set()),
    ],
)
def test_store_filter_holds_inside_the_search(
    store: Store, where: Filter, expected: set[tuple[str, int]]
) -> None:
    """What is filtered out takes no place, however well it fits."""
    best = "black tea herring green"
    store.add([chunk("best.md", number, best, topic="x", section="x") for number in (1, 2)])
    store.add(TEA)
    store.add(SHIPS)

    found = store.search(query(best), where, 2)

    assert {one.id for one in found} == expected


def test_store_document_added_again_replaces_the_former(store: Store) -> None:
    """A changed document leaves no old chunk behind."""
    store.add(TEA)
    store.add([chunk("tea.md", 1, "tea is gone, coffee it is", version="v2")])

    assert store.sources() == {"tea.md": Stored("v2", 1)}
    found = store.search(query("boiling water tea"), EVERYTHING, 5)
    assert [one.text for one in found] == ["tea is gone, coffee it is"]


def test_store_deleted_document_is_gone_alone(store: Store) -> None:
    """The others stay, also one whose name begins the same way."""
    store.add(TEA)
    store.add([chunk("tea.md.txt", 1, "another tea")])

    store.delete("tea.md")

    assert store.sources() == {"tea.md.txt": Stored("v1", 1)}
    assert {one.source for one in store.search(query("tea"), EVERYTHING, 5)} == {"tea.md.txt"}


@pytest.mark.parametrize("name", ["Grüße & tee.md", "a#b.md", "100% 'tea'.md", 'x".md'])
def test_store_odd_names_are_just_names(store: Store, name: str) -> None:
    """No character of a name is a command."""
    store.add([chunk(name, 1, "odd tea")])

    assert store.sources() == {name: Stored("v1", 1)}
    assert store.search(query("tea"), Filter(sources=(name,)), 5)[0].source == name
    store.delete(name)
    assert store.sources() == {}


@pytest.mark.parametrize("text", ['tea" OR "', "NEAR(", "a AND", "*", "tea:", "^", "", "'; DROP"])
def test_words_question_is_never_a_command(tmp_path: Path, text: str) -> None:
    """FTS5 has a language of its own; what people type is only words."""
    words = Words(tmp_path / "words.db")
    words.add(TEA)

    words.search(Query(text), EVERYTHING, 5)

    assert len(words.sources()) == 1


def test_words_longest_question_is_searched(tmp_path: Path) -> None:
    """4000 characters of different words are one search, and a quick one."""
    words = Words(tmp_path / "words.db")
    words.add(TEA)

    found = words.search(Query("tea " + " ".join(map(str, range(1000)))), EVERYTHING, 5)

    assert {one.source for one in found} == {"tea.md"}


def test_words_share_leaves_chance_matches_out(tmp_path: Path) -> None:
    """A chunk with one of four words is found only when that is enough."""
    words = Words(tmp_path / "words.db")
    words.add(TEA)

    assert words.search(Query("green ships sail fast"), EVERYTHING, 5)
    assert not words.search(Query("green ships sail fast"), EVERYTHING, 5, share=0.5)
    assert words.search(Query("how is green tea made?"), EVERYTHING, 5, share=0.5)


@pytest.mark.parametrize("kind", ["scan", "sqlite-vec"])
def test_vectors_of_another_model_start_the_table_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Vectors of another size cannot be compared: the old ones go, a question finds nothing."""
    store: Store = Scan(tmp_path / "v.db")
    if kind == "sqlite-vec":
        store = SqliteVec(tmp_path / "v.db", use_sqlite_that_loads_extensions(monkeypatch))
    store.add(TEA)

    assert store.search(Query("", array("f", [1, 0, 0])), EVERYTHING, 5) == []
    store.add([replace(SHIPS[0], vector=array("f", [1, 0, 0]))])
    assert store.sources() == {"ships.md": Stored("v1", 1)}
    assert store.search(Query("", array("f", [1, 0, 0])), EVERYTHING, 5)[0].source == "ships.md"


def test_sqlite_vec_ranks_like_the_scan_in_plain_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both say the same, so a laptop without the extension behaves like the server."""
    fast = SqliteVec(tmp_path / "a.db", use_sqlite_that_loads_extensions(monkeypatch))
    slow = Scan(tmp_path / "b.db")
    dice = random.Random(7)  # noqa: S311 - the same points each time
    points = [array("f", [dice.gauss(0, 1) for _ in range(8)]) for _ in range(200)]
    chunks = [replace(chunk("a.md", n, "tea"), vector=point) for n, point in enumerate(points)]
    for store in (fast, slow):
        store.add(chunks[10:])

    for point in points[:10]:
        ranked = [store.search(Query("", point), EVERYTHING, 20) for store in (fast, slow)]
        assert ranked[0] == ranked[1]


def test_sqlite_vec_file_does_not_grow_with_each_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room of replaced vectors is used again: the server's disk is small."""
    file = tmp_path / "vec.db"
    store = SqliteVec(file, use_sqlite_that_loads_extensions(monkeypatch))
    chunks = [chunk("a.md", n, f"tea {n}") for n in range(100)]
    store.add(chunks)
    first = file.stat().st_size
    for _ in range(20):
        store.add(chunks)

    assert file.stat().st_size < 2 * first


@pytest.mark.parametrize("kind", [Words, Scan])
def test_store_damaged_file_is_an_error_once_then_empty(tmp_path: Path, kind: type) -> None:
    """An index can be made again, so a broken one goes."""
    file = tmp_path / "broken.db"
    file.write_bytes(b"no database at all" * 500)
    store = kind(file)

    with pytest.raises(StoreError, match=r"broken\.db"):
        store.sources()
    assert store.sources() == {}


def test_pinecone_wrong_key_is_a_store_error(pinecone: FakePinecone) -> None:
    """The search goes on by words; the message does not repeat the key."""
    store = open_pinecone(pinecone, key="wrong-key")

    with pytest.raises(StoreError) as caught:
        store.sources()
    assert "wrong-key" not in str(caught.value)


def test_pinecone_unreachable_is_a_store_error(pinecone: FakePinecone) -> None:
    """No network, no traceback."""
    store = open_pinecone(pinecone)
    store._index = type(store._index)(host="http://127.0.0.1:9", api_key="x", timeout=1)  # noqa: SLF001

    with pytest.raises(StoreError):
        store.search(query("tea"), EVERYTHING, 5)


def test_pinecone_other_namespaces_are_not_touched(pinecone: FakePinecone) -> None:
    """A class may share one index: each seat has its own namespace."""
    store = open_pinecone(pinecone)
    store.add(TEA)
    pinecone.spaces["grace"] = dict(pinecone.spaces["ada"])

    store.delete("tea.md")

    assert (len(pinecone.spaces["ada"]), len(pinecone.spaces["grace"])) == (0, 2)
