"""Whose list a file is: of two people under one file name, and of one person in two files."""

from pathlib import Path

import pytest

from importers import read_export, recognise
from importers.common import Options
from importers.owners import own_name, told_apart
from importers.pipeline import Result, convert
from importers.users import Rules
from tests.helpers.conversions import mal_list, rows_of

TAKEOUT = "名称,名称(中文),条目类型,地址,状态,最后标注,我的评分,我的评论\nA,水星,动画,https://bgm.tv/subject/8,看过,2020-01-01,8,好\n"
NAMELESS = mal_list(1, user="").replace(b"Dropped", b"Completed")


def users(folder: Path, *sources: Path, user: str = "") -> tuple[list[str], Result]:
    result = convert([recognise(source) for source in sources], folder / "out", Options(user), Rules())
    return sorted(row[0] for row in rows_of(folder / "out", "user.tsv")), result


def put(path: Path, content: bytes = NAMELESS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_one_file_name_in_two_folders_is_two_people(tmp_path: Path) -> None:
    files = [put(tmp_path / folder / "animelist.xml") for folder in ("a", "b")]
    assert users(tmp_path, *files)[0] == ["animelist (a)", "animelist (b)"]
    assert users(tmp_path, tmp_path)[0] == ["animelist (a)", "animelist (b)"]
    assert users(tmp_path, *files, user="ann")[0] == ["ann"]
    with pytest.raises(ValueError, match="holds the lists of 2 people"):
        read_export(tmp_path)


def test_a_lone_sheet_is_called_as_its_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    for name in ("ann", "bob"):
        book = openpyxl.Workbook()
        for line in TAKEOUT.splitlines():
            book.active.append(line.split(","))
        book.save(put(tmp_path / f"{name}.xlsx"))
    assert users(tmp_path, tmp_path / "ann.xlsx", tmp_path / "bob.xlsx")[0] == ["ann", "bob"]


def test_the_user_in_a_file_comes_before_its_name(tmp_path: Path) -> None:
    put(tmp_path / "a/list.xml", NAMELESS.replace(b"<user_name></user_name>", b"<user_name>ann</user_name>"))
    put(tmp_path / "b/list.xml")
    assert users(tmp_path, tmp_path / "a", tmp_path / "b")[0] == ["ann", "list (b)"]


def test_folders_are_named_as_far_as_it_takes(tmp_path: Path) -> None:
    files = [Path(f"/x/{home}/lists/l.xml") for home in ("a", "b")] + [Path("/x/own.xml")]
    assert told_apart(files) == {files[0]: "l (a lists)", files[1]: "l (b lists)"}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("ann.xml", "ann"),
        ("ann.xml.gz", "ann"),
        ("j.doe.json", "j.doe"),
        ("takeout-某人-2024-05-06.csv", "某人"),
        ("animelist_1.xml.zip", "animelist_1"),
        ("upload", "upload"),
    ],
)
def test_a_files_own_name(name: str, own: str) -> None:
    assert own_name(Path(name)) == own


def test_a_dot_in_a_name_makes_no_one_of_two(tmp_path: Path) -> None:
    assert users(tmp_path, put(tmp_path / "j.doe.xml"), put(tmp_path / "j.roe.xml"))[0] == ["j.doe", "j.roe"]


def test_one_user_in_two_files_is_told(tmp_path: Path) -> None:
    named = mal_list(1, user="ann").replace(b"Dropped", b"Completed")
    files = (put(tmp_path / "old.xml", named), put(tmp_path / "new.xml", named.replace(b">1<", b">2<")))
    found, result = users(tmp_path, *files)
    assert found == ["ann"]
    assert result.shared == {"ann": files}
    assert result.rows == 2
    assert users(tmp_path, files[0])[1].shared == {}


def test_takeouts_and_pages_of_bangumi_are_told_apart_too(tmp_path: Path) -> None:
    head = "名称,名称(中文),条目类型,地址,状态,最后标注,我的评分,我的评论\n"
    row = "K,乾,动画,https://bgm.tv/subject/9,看过,2020-01-01,8,\n"
    takeouts = [put(tmp_path / folder / "takeout.csv", (head + row).encode()) for folder in "ab"]
    assert users(tmp_path, *takeouts)[0] == ["takeout (a)", "takeout (b)"]
    page = (
        '{"data": [{"subject_id": 1, "subject_type": 2, "type": 2, "rate": 0}], "total": 2, "limit": 1, "offset": %d}'
    )
    pages = [put(tmp_path / f"{folder}/ann_{n}.json", (page % n).encode()) for folder in "cd" for n in (0, 1)]
    assert users(tmp_path, *pages)[0] == ["ann (c)", "ann (d)"]
    assert users(tmp_path, *pages[:2])[0] == ["ann"]
