"""The store of encoded texts: nothing is lost to a kill, nothing damaged is used, two processes do not collide."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from text import store as text_store
from text.encoders import Encode
from text.store import RECORD, Store, missing, store_of

DIM, ROOT = 6, Path(__file__).parents[2]
STAMP = {"model_name": "some/encoder", "settings": {"max_seq_length": 512}, "model": "abc"}
HALF = {**STAMP, "settings": {"max_seq_length": 512, "half": True}}
TEXTS = [f"text {number} " + "x" * (number % 7) for number in range(100)]


def by_hash(text: str) -> np.ndarray:
    return np.random.default_rng(list(text.encode())).normal(size=DIM).astype(np.float32)


def expected(texts: list[str]) -> np.ndarray:
    return np.stack([by_hash(text) for text in texts])


def vectors_of(store: Store, texts: list[str], encode: Callable[[], Encode]) -> np.ndarray:
    return text_store.vectors_of(store, texts, encode)[0]


class Encoder:
    """Encodes, and remembers what it was asked for."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.opened, self.fails_after = 0, fails_after

    def __call__(self) -> Encode:
        self.opened += 1
        return self.encode

    def encode(self, texts: list[str]) -> np.ndarray:
        if self.fails_after is not None and len(self.asked) + len(texts) > self.fails_after:
            raise KeyboardInterrupt
        self.asked += texts
        return expected(texts)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of(tmp_path, STAMP)


def test_each_distinct_text_is_encoded_once_and_found_again(store: Store) -> None:
    first, second = Encoder(), Encoder()
    np.testing.assert_array_equal(vectors_of(store, TEXTS + TEXTS[:5], first), expected(TEXTS + TEXTS[:5]))
    assert sorted(first.asked) == sorted(TEXTS)
    np.testing.assert_array_equal(vectors_of(store, TEXTS[::-1], second), expected(TEXTS[::-1]))
    assert second.opened == 0


def test_one_edited_text_encodes_one(store: Store) -> None:
    vectors_of(store, TEXTS, Encoder())
    again = Encoder()
    vectors_of(store, ["edited", *TEXTS[1:]], again)
    assert again.asked == ["edited"]


def test_texts_of_a_window_are_alike_in_length(store: Store) -> None:
    encoder = Encoder()
    vectors_of(store, TEXTS, encoder)
    lengths = [len(text) for text in encoder.asked]
    assert lengths == sorted(lengths, reverse=True)


def test_an_interruption_costs_a_window_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_store, "WINDOW", 10)
    with pytest.raises(KeyboardInterrupt):
        vectors_of(store, TEXTS, Encoder(fails_after=75))
    left = missing(store, TEXTS)
    assert 25 <= len(left) <= 40
    again = Encoder()
    np.testing.assert_array_equal(vectors_of(store, TEXTS, again), expected(TEXTS))
    assert sorted(again.asked) == sorted(left)


@pytest.mark.slow
def test_a_slow_encoder_commits_by_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_store, "SECONDS", 0.05)
    windows = []

    def encode(texts: list[str]) -> np.ndarray:
        windows.append(len(texts))
        time.sleep(0.01 * len(texts))
        return expected(texts)

    vectors_of(store, TEXTS, lambda: encode)
    assert max(windows[1:]) <= 8


@pytest.mark.parametrize(
    ("name", "cut"), [("vectors.bin", 1), ("vectors.bin", DIM * 4 * 3 + 2), ("index.bin", 1), ("index.bin", 36 * 4 + 5)]
)
def test_a_torn_end_is_encoded_again(store: Store, name: str, cut: int) -> None:
    vectors_of(store, TEXTS, Encoder())
    path = store.folder / name
    os.truncate(path, path.stat().st_size - cut)
    again = Encoder()
    np.testing.assert_array_equal(vectors_of(store, TEXTS, again), expected(TEXTS))
    assert 1 <= len(again.asked) <= 5
    np.testing.assert_array_equal(vectors_of(store, TEXTS, Encoder(fails_after=0)), expected(TEXTS))


def test_rows_without_a_record_are_written_over(store: Store) -> None:
    vectors_of(store, TEXTS[:50], Encoder())
    with Path(store.folder / "vectors.bin").open("ab") as file:
        file.write(b"\xff" * 77)  # a kill between the rows and their records
    np.testing.assert_array_equal(vectors_of(store, TEXTS, Encoder()), expected(TEXTS))


def test_a_flipped_bit_is_seen_and_mended(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    vectors_of(store, TEXTS, Encoder())
    data = bytearray((store.folder / "vectors.bin").read_bytes())
    data[DIM * 4 * 10 + 3] ^= 64
    (store.folder / "vectors.bin").write_bytes(data)
    again = Encoder()
    np.testing.assert_array_equal(vectors_of(store, TEXTS, again), expected(TEXTS))
    assert len(again.asked) == 1
    assert "1 vectors are damaged" in caplog.text


def test_another_encoder_or_setting_has_a_store_of_its_own(tmp_path: Path) -> None:
    stamps = [
        STAMP,
        {**STAMP, "model_name": "other"},
        {**STAMP, "settings": {"max_seq_length": 99}},
        {**STAMP, "model": "a new revision"},
    ]
    stamps += [HALF]
    folders = {store_of(tmp_path, stamp).folder for stamp in stamps}
    assert len(folders) == 5
    assert all(folder.parent == tmp_path / "encoded" for folder in folders)
    odd = store_of(tmp_path, {**STAMP, "model_name": "../../../etc/passwd\0"}).folder
    assert odd.parent == tmp_path / "encoded"


def test_half_precision_takes_half_the_disk(tmp_path: Path) -> None:
    whole, half = (store_of(tmp_path, stamp) for stamp in (STAMP, HALF))
    found = [vectors_of(one, TEXTS, Encoder()) for one in (whole, half)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-6)
    sizes = [(one.folder / "vectors.bin").stat().st_size for one in (whole, half)]
    assert sizes[0] == 2 * sizes[1]
    assert found[1].dtype == np.float32


def test_a_vector_that_is_not_finite_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not finite"):
        vectors_of(store, TEXTS, lambda: lambda texts: np.full((len(texts), DIM), np.nan))
    assert missing(store, TEXTS)


def test_odd_texts_are_found_again(store: Store) -> None:
    odd = ["", "\0", "a\0", "😀", "\ud800", "é", "e\u0301", "x", "X", "x ", " x", "x" * 100_000, "x" * 99_999 + "y"]
    encoder = Encoder()
    vectors = vectors_of(store, odd, lambda: lambda texts: np.arange(len(texts) * DIM, dtype=float).reshape(-1, DIM))
    assert len(np.unique(vectors[:, 0])) == len(odd)
    np.testing.assert_array_equal(vectors_of(store, odd, encoder), vectors)
    assert encoder.opened == 0


def fill(folder: str, first: int, last: int, slow: float, counts: "multiprocessing.Queue[int]") -> None:
    encoder = Encoder()

    def encode(texts: list[str]) -> np.ndarray:
        time.sleep(slow)
        return encoder.encode(texts)

    text_store.WINDOW = 5
    vectors_of(store_of(Path(folder), STAMP), TEXTS[first:last], lambda: encode)
    counts.put(len(encoder.asked))


@pytest.mark.slow
def test_processes_that_fill_it_at_once_encode_each_text_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    counts = context.Queue()
    workers = [
        context.Process(target=fill, args=(str(tmp_path), *span, 0.01, counts))
        for span in ((0, 80), (20, 100), (0, 100))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sum(counts.get(timeout=5) for _ in workers) == len(TEXTS)
    store = store_of(tmp_path, STAMP)
    np.testing.assert_array_equal(vectors_of(store, TEXTS, Encoder(fails_after=0)), expected(TEXTS))


def test_who_finds_all_texts_there_waits_for_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors_of(store, TEXTS, Encoder())
    monkeypatch.setattr(text_store, "lock_folder", lambda *args, **more: pytest.fail("it asked for the lock"))
    np.testing.assert_array_equal(vectors_of(store, TEXTS, Encoder(fails_after=0)), expected(TEXTS))


@pytest.mark.slow
def test_a_killed_process_leaves_what_it_made_and_no_lock(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "import time, tests.text.test_store as t\nfrom pathlib import Path\nfrom text import store as text_store\n"
        "text_store.WINDOW = 4\n"
        f"store = t.store_of(Path({str(tmp_path)!r}), t.STAMP)\n"
        "encode = lambda texts: (time.sleep(0.02), print(flush=True), t.expected(texts))[-1]\n"
        "t.vectors_of(store, t.TEXTS, lambda: encode)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        for _ in range(7):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
    store, again = store_of(tmp_path, STAMP), Encoder()
    left = missing(store, TEXTS)
    assert 0 < len(left) < len(TEXTS)
    np.testing.assert_array_equal(vectors_of(store, TEXTS, again), expected(TEXTS))
    assert sorted(again.asked) == sorted(left)


def test_a_record_takes_36_bytes() -> None:
    assert RECORD.itemsize == 36


def test_vectors_of_another_length_are_refused(store: Store) -> None:
    vectors_of(store, TEXTS, Encoder())
    with pytest.raises(ValueError, match="gives vectors of 3 numbers, but .* of 6; delete that folder"):
        vectors_of(store, ["new"], lambda: lambda texts: np.ones((len(texts), 3)))
    np.testing.assert_array_equal(vectors_of(store, TEXTS, Encoder(fails_after=0)), expected(TEXTS))
