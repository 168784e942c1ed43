"""MovieLens in its three ways of writing, and the names of films."""

import json
import zipfile
from pathlib import Path

import pytest

from importers import movielens
from tests.helpers.import_samples import (
    all_of,
    found,
    lists_of,
    movielens_1m,
    movielens_100k,
    movielens_latest,
    titles_of,
    write,
)

MOVIELENS = movielens.FORMATS[0]


def tags_of(folder: Path) -> list[list[str]]:
    return titles_of(MOVIELENS, folder)["tags_name"].map(json.loads).tolist()


def test_latest(tmp_path: Path) -> None:
    rows = lists_of(MOVIELENS, movielens_latest(tmp_path))
    assert rows["rate"].tolist() == [4, 0.5]
    assert rows["updated_at"].tolist() == ["964982703", "964981247"]
    assert set(rows["status"]) == {""}
    titles = titles_of(MOVIELENS, tmp_path)
    assert titles["name"].tolist() == [
        "Toy Story (1995)",
        "Matrix, The (1999) / The Matrix",
        "2001: A Space Odyssey (1968)",
    ]
    assert titles["year"].tolist() == ["1995", "1999", "1968"]


def test_free_tags_follow_the_genres_the_most_used_first_and_few(tmp_path: Path) -> None:
    folder = movielens_latest(tmp_path)
    assert tags_of(folder) == [["Adventure", "Animation", "Sci-Fi", "pixar", "fun"], [], ["Sci-Fi"]]
    rows = "".join(f"{user},5,tag{tag},1\n" for tag in range(20) for user in range(tag + 1))
    write(folder, tags__csv=f"userId,movieId,tag,timestamp\n{rows}")
    assert tags_of(folder)[2] == ["Sci-Fi", *(f"tag{tag}" for tag in range(19, 11, -1))]
    (folder / "tags.csv").write_text("something else\n")
    assert tags_of(folder)[2] == ["Sci-Fi"]


def test_1m_in_latin_1_and_10m_in_utf_8(tmp_path: Path) -> None:
    rows = lists_of(MOVIELENS, movielens_1m(tmp_path))
    assert rows["subject_id"].tolist() == ["1193", "661"]
    assert rows["updated_at"].tolist() == ["978300760", "978302109"]
    titles = titles_of(MOVIELENS, tmp_path)
    assert titles["name"].tolist() == ["James and the Giant Peach (1996)", "Misérables, Les (1995) / Les Misérables"]
    assert titles["tags_name"][0] == '["Animation", "Children\'s", "Musical"]'
    path = tmp_path / "movies.dat"
    path.write_bytes(path.read_bytes().decode("latin-1").encode())
    assert titles_of(MOVIELENS, tmp_path).equals(titles)


def test_100k(tmp_path: Path) -> None:
    rows = lists_of(MOVIELENS, movielens_100k(tmp_path))
    assert rows["user_id"].tolist() == ["196", "186"]
    assert rows["updated_at"].tolist() == ["881250949", "891717742"]
    titles = titles_of(MOVIELENS, tmp_path)
    assert titles["name"].tolist() == ["Kolya (1996)", "Brève rencontre"]
    assert titles["year"].tolist() == ["1996", "1945"]
    assert tags_of(tmp_path) == [["Animation", "Children's"]] * 2


@pytest.mark.parametrize(
    ("title", "name", "year"),
    [
        (
            "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
            "City of Lost Children, The (Cité des enfants perdus, La) (1995) / The City of Lost Children",
            "1995",
        ),
        (
            "Good, the Bad and the Ugly, The (1966)",
            "Good, the Bad and the Ugly, The (1966) / The Good, the Bad and the Ugly",
            "1966",
        ),
        ("Fish Called Wanda, A (1988)", "Fish Called Wanda, A (1988) / A Fish Called Wanda", "1988"),
        ("Avventura, L' (1960)", "Avventura, L' (1960) / L'Avventura", "1960"),
        ("Cosmos (2014–2020)", "Cosmos (2014–2020)", "2014"),
        ("Babylon 5", "Babylon 5", ""),
        ("Land Before Time III (1995) (V)", "Land Before Time III (1995) (V)", "1995"),
        ("Metropolis (1927) Restored (2010)", "Metropolis (1927) Restored (2010)", "2010"),
        ("1984 (Nineteen Eighty-Four) (1956)", "1984 (Nineteen Eighty-Four) (1956)", "1956"),
        ("Tom, Dick &amp; Harry", "Tom, Dick & Harry", ""),
    ],
)
def test_names_and_years_of_films(tmp_path: Path, title: str, name: str, year: str) -> None:
    folder = write(tmp_path, movies__csv=f'movieId,title,genres\n1,"{title}",Drama\n')
    titles = titles_of(MOVIELENS, folder)
    assert (titles["name"][0], titles["year"][0]) == (name, year)


@pytest.mark.parametrize("make", [movielens_latest, movielens_1m, movielens_100k])
def test_the_zip_as_downloaded(tmp_path: Path, make: object) -> None:
    folder = make(tmp_path / "ml")
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"ml/{path.name}")
    assert lists_of(MOVIELENS, tmp_path / "ml.zip").equals(lists_of(MOVIELENS, folder))
    assert titles_of(MOVIELENS, tmp_path / "ml.zip").equals(titles_of(MOVIELENS, folder))
    # a folder is found in the folder above, too
    assert found(MOVIELENS, tmp_path) == found(MOVIELENS, folder)


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    text = "userId,movieId,rating,timestamp\n" + "".join(f"{n},{n * 7919 % 9973},3,{n}\n" for n in range(9000))
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml/ratings.csv", text)
    raw = bytearray((tmp_path / "ml.zip").read_bytes())
    raw[-3000:-2900] = b"\0" * 100
    (tmp_path / "ml.zip").write_bytes(raw)
    with pytest.raises(ValueError, match=r"ratings\.csv.*(cannot be unpacked|is not a number|fields where)"):
        lists_of(MOVIELENS, tmp_path / "ml.zip")


def test_a_zip_whose_members_cannot_be_opened_is_no_format(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        archive.writestr("ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4\n")
    assert found(MOVIELENS, tmp_path / "ml.zip")
    raw = (tmp_path / "ml.zip").read_bytes()
    (tmp_path / "ml.zip").write_bytes(raw.replace(b"ratings.csv", b"retings.csv", 1))
    assert MOVIELENS.find(tmp_path / "ml.zip") is None


def test_errors_name_the_line(tmp_path: Path) -> None:
    folder = write(tmp_path, ratings__dat="1::2::3::4\n\n1::2::many::4\n", u__data="1\t2\t3\t4\n1\t2\t3\n")
    with pytest.raises(ValueError, match=r"ratings\.dat line 3: the rate 'many' is not a number"):
        all_of(MOVIELENS.lists, folder / "ratings.dat")
    with pytest.raises(ValueError, match=r"u\.data line 2: 3 fields where there should be 4"):
        all_of(MOVIELENS.lists, folder / "u.data")


def test_wrong_and_empty_files(tmp_path: Path) -> None:
    folder = write(tmp_path, ratings__csv="user,movie,rating\n1,2,3\n", u__data="", movies__dat="1::2\n", links__csv="")
    assert MOVIELENS.find(folder) is None
    with pytest.raises(ValueError, match=r"ratings\.csv line 1: no column userId, movieId, timestamp \(found: user, "):
        all_of(MOVIELENS.lists, folder / "ratings.csv")
    with pytest.raises(ValueError, match=r"u\.data: no rows; give ratings\.csv, ratings\.dat or u\.data"):
        all_of(MOVIELENS.lists, folder / "u.data")
    with pytest.raises(ValueError, match=r"links\.csv line 1: no column .*found: nothing"):
        all_of(MOVIELENS.titles, folder / "links.csv")
