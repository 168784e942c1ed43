"""Files that someone made to harm: nothing in them is run, none fills the memory, no name becomes a path."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import config as config_module
import main
from data_loader import load_dataset
from dataset.readers import read_interactions, read_table
from importers import recognise
from importers.common import NO_OPTIONS, chunks_of
from inference.cold_items import read_fields
from runtime import safe_files
from runtime.files import load_torch, save_torch
from tests.helpers.data import HEADERS, write_tsv
from text.cache import read_matrix
from web.report_files import read_arrays, read_json

ROOT = Path(main.__file__).resolve().parent
MIB = 2**20


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bomb begin at 1 MB."""
    monkeypatch.setattr(safe_files, "UNPACKED_MB", 1)


def packed_zip(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


# --- .pth ---


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_torch_file_runs_anything(protocol: int, tmp_path: Path) -> None:
    path, mark = tmp_path / "x.pth", tmp_path / "ran"
    plain = pickle.dumps(Evil(mark), protocol)
    torch.save({"config": Evil(mark)}, tmp_path / "zip.pth")
    torch.save({"config": Evil(mark)}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    for content in (plain, (tmp_path / "zip.pth").read_bytes(), (tmp_path / "legacy.pth").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.pth cannot be read .*delete it and train again"):
            load_torch(path)
    assert not mark.exists()


@pytest.mark.slow
def test_a_torch_file_with_packed_records_is_refused(tmp_path: Path) -> None:
    save_torch(tmp_path / "plain.pth", {"a": torch.zeros(10 * MIB)})
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for info in plain.infolist():
            bomb.writestr(info.filename, plain.read(info))
    assert path.stat().st_size < MIB
    with pytest.raises(ValueError, match="packed records"):
        load_torch(path)


def test_a_torch_file_whose_records_share_bytes_is_refused(tmp_path: Path) -> None:
    """As zip bombs of overlapping files do, which need no packing."""
    path = tmp_path / "x.pth"
    save_torch(path, {"a": torch.zeros(1000)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist += [max(archive.infolist(), key=lambda info: info.file_size)] * 9
        archive._didModify = True
    with pytest.raises(ValueError, match="larger than the file"):
        load_torch(path)


def test_every_cut_and_many_a_flipped_byte_of_a_torch_file_is_a_sentence(tmp_path: Path) -> None:
    save_torch(tmp_path / "x.pth", {"config": {"lr": 0.1}, "state_dict": {"a": torch.ones(3)}})
    content, rng = (tmp_path / "x.pth").read_bytes(), np.random.default_rng(0)
    damaged = [content[:cut] for cut in range(0, len(content), 40)]
    for place in rng.integers(len(content), size=300):
        damaged.append(content[:place] + bytes([content[place] ^ (1 << rng.integers(8))]) + content[place + 1 :])
    told = []
    for wrong in damaged:
        (tmp_path / "x.pth").write_bytes(wrong)
        try:
            load_torch(tmp_path / "x.pth")
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 100
    assert all("cannot be read" in line and "\n" not in line for line in told)


# --- .npz, .npy ---


def saved_arrays(folder: Path) -> Path:
    for name in ("user_emb.pt", "item_emb.pt"):
        save_torch(folder / name, torch.ones(2, 2))
    return folder / "splits.npz"


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = np.array([Evil(mark)], dtype=object)
    np.savez(saved_arrays(tmp_path), train=evil)
    with pytest.raises(ValueError, match="cannot be read.*run main.py again"):
        read_arrays(tmp_path)
    np.save(tmp_path / "item_llm_embeddings.npy", evil, allow_pickle=True)
    (tmp_path / "item_llm_embeddings.npy.json").write_text('{"blocks": [{"dim": 1}], "vectors_sha256": ""}')
    assert read_matrix(tmp_path, "item", {}) is None
    assert not mark.exists()


def test_arrays_that_are_a_bomb_are_refused(tmp_path: Path, small: None) -> None:
    np.savez_compressed(
        saved_arrays(tmp_path),
        **{name: np.zeros((MIB // 4, 2), np.int32) for name in ("train", "valid", "test", "excluded")},
    )
    assert (tmp_path / "splits.npz").stat().st_size < MIB / 100
    with pytest.raises(ValueError, match="unpacks to more than 1 MB and 200 times its size"):
        read_arrays(tmp_path)


def test_arrays_that_claim_to_be_larger_than_they_are_are_refused(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (2**46,)})
    packed_zip(saved_arrays(tmp_path), "train.npy", head.getvalue())
    with pytest.raises(ValueError, match="cannot be read"):
        read_arrays(tmp_path)
    (tmp_path / "item_llm_embeddings.npy").write_bytes(head.getvalue())
    (tmp_path / "item_llm_embeddings.npy.json").write_text('{"blocks": [{"dim": 1}], "vectors_sha256": ""}')
    assert read_matrix(tmp_path, "item", {}) is None


# --- .pkl ---


def test_the_dict_of_train_titles_is_read(tmp_path: Path) -> None:
    titles = {f"u{user}": [f"s{item}" for item in range(user)] for user in range(300)} | {"名" * 200: ["x" * 300]}
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(titles))
    assert safe_files.read_user_dict(tmp_path / "d.pkl") == titles


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_dict_with_code_in_it_is_refused(protocol: int, tmp_path: Path) -> None:
    path, mark = tmp_path / "d.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"u": Evil(mark)}, protocol))
    with pytest.raises(ValueError, match=r"d\.pkl is no dict of lists of ids .*nothing in it was run"):
        safe_files.read_user_dict(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04r\xff\xff\xff\xff.", "LONG_BINPUT"),  # a memo of 64 GB
        (b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".", "cannot be read"),  # a text of a terabyte
        (b"\x80\x04" + b"(" * 5000 + b"t" * 5000 + b".", "TUPLE"),
        (b"", "cannot be read"),
        (b"no pickle", "cannot be read"),
        (pickle.dumps({"u": [["s"]]}), "no dict of lists"),
        (pickle.dumps(["u"]), "no dict of lists"),
        (pickle.dumps({"u": "s"}), "no dict of lists"),
        (pickle.dumps({"u": ["s"]})[:-3], "cannot be read"),
    ],
)
def test_a_dict_that_is_none_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "d.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        safe_files.read_user_dict(tmp_path / "d.pkl")


def test_a_reader_without_the_list_of_opcodes_still_knows_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    monkeypatch.setattr(safe_files, "OPCODES", {code.name for code in safe_files.pickletools.opcodes})
    (tmp_path / "d.pkl").write_bytes(pickle.dumps({"u": Evil(mark)}))
    with pytest.raises(ValueError, match="it names .*mkdir"):
        safe_files.read_user_dict(tmp_path / "d.pkl")
    assert not mark.exists()


# --- .json ---


DEEP = "[" * 200_000


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 200_000, DEEP + "]" * 200_000])
@pytest.mark.parametrize("read", [config_module.read_config, read_fields, read_json])
def test_json_of_any_depth_is_a_sentence(read: Callable[[Path], Any], text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json .*;"):
        read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("subject.jsonlines", '{"id": 1, "type": 2, "name_cn": "", "infobox": ' + DEEP),
        ("0.json", '{"data": [], "subject_type": ' + DEEP),
        ("list.json", '{"MediaListCollection": ' + DEEP),
        ("reviews.json", '{"reviewerID": "a", "asin": ' + DEEP),
    ],
)
def test_json_of_any_depth_in_an_export_is_a_sentence(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    made, files = recognise(tmp_path / name)
    read = made.lists or made.titles
    with pytest.raises(ValueError, match=name):
        list(chunks_of(read, (files.lists or files.titles)[0], NO_OPTIONS, {}))


def test_a_cache_with_a_deep_sidecar_is_made_again(tmp_path: Path) -> None:
    np.save(tmp_path / "item_llm_embeddings.npy", np.ones((1, 1), np.float32))
    (tmp_path / "item_llm_embeddings.npy.json").write_text(DEEP)
    assert read_matrix(tmp_path, "item", {}) is None


# --- .gz, .zip ---


def gz_bomb(path: Path, mib: int, head: str = "", tail: str = "") -> Path:
    """Write mib MiB of spaces between head and tail, as gzip files one after the other."""
    spaces = gzip.compress(b" " * MIB, 9)
    path.write_bytes(gzip.compress(head.encode()) + spaces * mib + gzip.compress(tail.encode()))
    return path


def test_a_table_that_is_a_bomb_is_refused(tmp_path: Path, small: None) -> None:
    head = "\t".join(HEADERS["interactions.tsv"]) + "\nu1\ts1\t5\t"
    gz_bomb(tmp_path / "interactions.tsv.gz", 3, head, "\t\n")
    with pytest.raises(ValueError, match=r"interactions\.tsv\.gz unpacks to more than 1 MB and 200 times its size"):
        read_table(tmp_path, "interactions.tsv", HEADERS["interactions.tsv"])
    gz_bomb(tmp_path / "train.txt.gz", 3, "u1 s1")
    (tmp_path / "interactions.tsv.gz").unlink()
    with pytest.raises(ValueError, match=r"train\.txt\.gz unpacks to more"):
        load_dataset(config_module.get_config({"data_dir": str(tmp_path)}))


@pytest.mark.slow
def test_a_bomb_is_left_before_it_fills_the_memory(tmp_path: Path) -> None:
    """4 GB in a line, packed to 5 MB, by a process that may use 1.5 GB."""
    gz_bomb(tmp_path / "interactions.tsv.gz", 4096, "\t".join(HEADERS["interactions.tsv"]) + "\n")
    program = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); from dataset.readers import read_interactions\n"
        "from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 2**29, 3 * 2**29))\n"
        "try: read_interactions(Path(sys.argv[2]), None)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert "unpacks to more than 256 MB" in done.stdout, done.stderr[-500:]


@pytest.mark.slow
def test_a_table_that_packs_well_is_read(tmp_path: Path, small: None) -> None:
    """Rows that are alike pack a hundred times, and are no bomb."""
    rows = "".join(f"u{row % 50}\ts{row % 9}\t5\t\t\n" for row in range(150_000))
    table = ("\t".join(HEADERS["interactions.tsv"]) + "\n" + rows).encode()
    (tmp_path / "interactions.tsv.gz").write_bytes(packed := gzip.compress(table))
    assert len(table) > max(MIB, 100 * len(packed))
    table, _ = read_interactions(tmp_path, pd.Series([f"s{item}" for item in range(9)]))
    assert len(table) == 450


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inner", "start"),
    [
        ("ml.zip", "ratings.csv", "userId,movieId,rating,timestamp\n1,1,5,1\n"),
        ("ml.zip", "subject.jsonlines", '{"id": 1, "type": 2, "name_cn": "", "infobox": ""}\n'),
        ("ratings.csv", None, "userId,movieId,rating,timestamp\n1,1,5,1\n"),
        ("list.xml", None, "<myanimelist><anime></anime>"),
    ],
)
def test_an_export_that_is_a_bomb_is_refused(
    name: str, inner: str | None, start: str, tmp_path: Path, small: None
) -> None:
    content = start.encode() + b"\n" * 3 * MIB
    path = (
        packed_zip(tmp_path / name, inner, content)
        if inner
        else Path(str((tmp_path / name).write_bytes(gzip.compress(content)) and tmp_path / name))
    )

    def read_all() -> None:
        made, files = recognise(path)
        read, file = (made.lists, files.lists[0]) if files.lists else (made.titles, files.titles[0])
        list(chunks_of(read, file, NO_OPTIONS, {}))

    with pytest.raises(ValueError, match="unpacks to more than 1 MB"):
        read_all()


# --- names ---


NAMES = ("../../out", "/abs/out", "a/b", "..", ".", "x\\y", "CON", "a\u202eb", "nul.json", "~", "$HOME", "%2e%2e")


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_ids_never_become_file_names(tmp_path: Path) -> None:
    """A run whose ids are paths writes the very files that any run writes, and nothing anywhere else."""
    written = {}
    for kind, ids in (("plain", [f"id{n}" for n in range(len(NAMES))]), ("paths", list(NAMES))):
        home = tmp_path / kind / "a" / "b" / "c"
        write_tsv(home / "data", "anime.tsv", ((raw, raw, json.dumps([raw]), raw) for raw in ids))
        write_tsv(
            home / "data",
            "interactions.tsv",
            (
                (user, item, 5, user, "2020-01-01")
                for a, user in enumerate(ids)
                for b, item in enumerate(ids)
                if (a + b) % 2
            ),
        )
        main.run(
            config_module.get_config(
                {
                    "data_dir": str(home / "data"),
                    "saved_dir": str(home / "saved"),
                    "model_name": "lsa",
                    "epochs": 1,
                    "top_k": [3],
                    "recommend_k": 3,
                    "embedding_dim": 4,
                    "device": "cpu",
                    "refit": True,
                }
            )
        )
        written[kind] = names_below(tmp_path / kind)
    assert written["paths"] == written["plain"]
    assert set(json.loads((home / "saved" / "recommendations.json").read_text())) == set(NAMES)
