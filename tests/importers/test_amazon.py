"""Amazon's JSON lines of 2018 and 2023."""

import gzip
import json
from pathlib import Path

import pytest

from importers import amazon
from importers.common import Files
from tests.helpers.import_samples import NO_OPTIONS, all_of, amazon_2018, amazon_2023, found, lists_of, titles_of, write

AMAZON = {made.name.removeprefix("amazon-"): made for made in amazon.FORMATS}


def test_reviews_of_2018(tmp_path: Path) -> None:
    rows = lists_of(AMAZON["2018"], amazon_2018(tmp_path))
    assert rows["user_id"].tolist() == ["A2M1CU2IRZG0K9", "A1"]
    assert rows["username"].tolist() == ["Terri & Co", ""]
    assert rows["subject_id"].tolist() == ["0005089549"] * 2
    assert rows["rate"].tolist() == [5, 3]
    assert rows["comment"].tolist() == ['So "sorry"\nit\'s gone', ""]
    assert rows["updated_at"].tolist() == ["1352419200", "1352419201"]


def test_a_date_counts_where_there_are_no_seconds(tmp_path: Path) -> None:
    review = '{"overall": 5.0, "reviewerID": "A", "asin": "B", "reviewText": "x", "reviewTime": "08 15, 2021"}\n'
    path = write(tmp_path, r__json=review) / "r.json"
    assert all_of(AMAZON["2018"].lists, path)["updated_at"].tolist() == ["08 15, 2021"]


def test_products_of_2018(tmp_path: Path) -> None:
    title = titles_of(AMAZON["2018"], amazon_2018(tmp_path)).iloc[0]
    assert title["name"].startswith("A & B")
    assert json.loads(title["tags_name"]) == ["Movies & TV", "Anime"]
    assert title["summary"] == "New\nOne.\nTwo."


def test_reviews_of_2023_in_milliseconds_and_by_parent(tmp_path: Path) -> None:
    rows = lists_of(AMAZON["2023"], amazon_2023(tmp_path))
    assert rows["user_id"].tolist() == ["AE22", "AE23"]
    assert rows["subject_id"].tolist() == ["B0", "B9"]
    assert rows["updated_at"].tolist() == ["1598567408138", "1598567408999"]
    assert rows["comment"].tolist() == ['Fun \n"yes"', ""]


def test_products_of_2023(tmp_path: Path) -> None:
    title = titles_of(AMAZON["2023"], amazon_2023(tmp_path)).iloc[0]
    assert tuple(title) == ("B0", "Akira", '["Movies & TV", "Anime"]', "4K\nNeo-Tokyo.", "", "")


def test_all_categories_of_a_folder_are_read(tmp_path: Path) -> None:
    folder = amazon_2023(tmp_path)
    for path in list(folder.iterdir()):
        path.with_name(path.name.replace("Movies_and_TV", "Books")).write_bytes(path.read_bytes())
    files = found(AMAZON["2023"], folder)
    assert [path.name for path in files.lists] == ["Books.jsonl", "Movies_and_TV.jsonl"]
    assert [path.name for path in files.titles] == ["meta_Books.jsonl", "meta_Movies_and_TV.jsonl"]


def test_a_first_line_longer_than_what_is_read_of_it(tmp_path: Path) -> None:
    review = {"rating": 5.0, "title": "t", "text": "x" * 50_000, "images": [], "parent_asin": "B0", "user_id": "A"}
    product = {"main_category": "Books", "title": "t", "features": ["x" * 50_000], "parent_asin": "B0"}
    folder = write(tmp_path, reviews__jsonl=json.dumps(review) + "\n", meta__jsonl=json.dumps(product) + "\n")
    assert found(AMAZON["2023"], folder) == Files((folder / "reviews.jsonl",), (folder / "meta.jsonl",))
    assert lists_of(AMAZON["2023"], folder)["user_id"].tolist() == ["A"]


def test_words_in_quotes_inside_a_text_are_no_keys(tmp_path: Path) -> None:
    folder = write(tmp_path, other__jsonl=json.dumps({"id": 1, "say": '"rating": 1, "title": 2, "text": 3'}) + "\n")
    assert AMAZON["2023"].find(folder / "other.jsonl") is None


def test_gzip_whole_and_cut_off(tmp_path: Path) -> None:
    folder = amazon_2023(tmp_path / "plain")
    text = (folder / "Movies_and_TV.jsonl").read_text() + "".join(
        json.dumps({"rating": n % 5, "title": "", "text": str(n * 7919), "parent_asin": f"B{n}", "user_id": f"A{n}"})
        + "\n"
        for n in range(5000)
    )
    (folder / "Movies_and_TV.jsonl").write_text(text)
    packed = gzip.compress(text.encode())
    write(tmp_path / "gz", reviews__jsonl__gz=packed)
    write(tmp_path / "cut", reviews__jsonl__gz=packed[:-9000])
    assert lists_of(AMAZON["2023"], tmp_path / "gz").equals(lists_of(AMAZON["2023"], folder))
    with pytest.raises(ValueError, match=r"reviews\.jsonl\.gz: not a whole gzip file"):
        lists_of(AMAZON["2023"], tmp_path / "cut")


def test_chunks_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amazon, "CHUNK", 2)
    lines = (f'{{"reviewerID": "{n}", "asin": "a", "overall": {n}}}\n\n' for n in range(5))
    path = write(tmp_path, r__json="".join(lines)) / "r.json"
    chunks = list(AMAZON["2018"].lists(path, NO_OPTIONS, {}))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert all_of(AMAZON["2018"].lists, path)["user_id"].tolist() == list("01234")


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ('{"reviewerID": "A1", "asi', "not JSON"),
        ("{'reviewerID': 'A1', 'asin': 'B'}", "not JSON"),
        ('{"reviewerID": "A1", "asin": "B", "overall": "good"}', "could not convert string to float: 'good'"),
        ("[1, 2]", "no object"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: str, what: str) -> None:
    path = amazon_2018(tmp_path) / "Movies_and_TV.json"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + bad)
    with pytest.raises(ValueError, match=rf"Movies_and_TV\.json line 4: {what}"):
        all_of(AMAZON["2018"].lists, path)


@pytest.mark.parametrize("text", ["", '{"id": 1}\n'])
def test_wrong_and_empty_files(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, wrong__json=text) / "wrong.json"
    for made in AMAZON.values():
        assert made.find(path) is None
        for read in (made.lists, made.titles):
            with pytest.raises(ValueError, match=r"wrong\.json line 1: no (reviews|metadata) of Amazon"):
                all_of(read, path)
