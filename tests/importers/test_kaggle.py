"""Kaggle's anime sets: what is read of each, whatever a spreadsheet or a broken download has done to it."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from importers import kaggle, sheets
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, Files
from tests.helpers.import_samples import (
    NO_OPTIONS,
    all_of,
    found,
    kaggle_2016,
    kaggle_2018,
    kaggle_2020,
    kaggle_2023,
    kaggle_reviews,
    lists_of,
    titles_of,
    write,
)

SET = {made.name.removeprefix("kaggle-"): made for made in kaggle.FORMATS}


def test_2020_lists_and_their_statuses(tmp_path: Path) -> None:
    rows = lists_of(SET["2020"], kaggle_2020(tmp_path))
    assert list(rows) == list(ENTRY_COLUMNS)
    assert rows["status"].tolist() == ["doing", "done", "on_hold", "dropped", "wish"]
    assert rows["user_id"].tolist() == ["0", "0", "1", "1", "2"]
    assert rows["subject_id"].tolist() == ["67", "6702", "1", "67", "1"]
    assert rows["rate"].tolist() == [9, 7, 0, 3, 0]


def test_2020_completed_rows_are_read_only_without_animelist(tmp_path: Path) -> None:
    folder = kaggle_2020(tmp_path)
    assert [path.name for path in found(SET["2020"], folder).lists] == ["animelist.csv"]
    (folder / "animelist.csv").unlink()
    rows = lists_of(SET["2020"], folder)
    assert rows["subject_id"].tolist() == ["6702", "1"]
    assert set(rows["status"]) == {"done"}


def test_2020_titles_with_their_synopses(tmp_path: Path) -> None:
    titles = titles_of(SET["2020"], kaggle_2020(tmp_path))
    assert list(titles) == [*TITLE_COLUMNS, "type", "season"]
    assert titles["type"].tolist() == ["TV", "TV", "TV"]
    assert titles["season"].tolist() == ["1998-spring", "", ""]
    assert titles["name"].tolist() == [
        "Cowboy Bebop / カウボーイビバップ",
        "Basilisk: Kouga Ninpou Chou / Basilisk",
        "Fairy Tail & Co",
    ]
    assert titles["summary"].tolist() == ['n the year 2071, humanity\nhas "moved" "out"', "", ""]
    assert titles["tags_name"].map(json.loads).tolist() == [["Action", "Adventure", "Sci-Fi"], ["Action", "Hentai"], []]
    assert titles["year"].tolist() == ["1998", "", "2009"]
    assert titles["adult"].tolist() == ["", "1", ""]


def test_2020_synopses_alone_are_titles_too(tmp_path: Path) -> None:
    titles = titles_of(SET["2020"], kaggle_2020(tmp_path) / "anime_with_synopsis.csv")
    assert titles["name"].tolist() == ["Cowboy Bebop", "Basilisk"]
    assert titles["summary"][0].startswith("n the year 2071")


@pytest.mark.parametrize(
    ("bad", "line", "what"),
    [
        ("0,x,9,1,1", 3, "anime_id 'x' is not a whole number"),
        ("0,1,,1,1", 3, "rating '' is not a whole number"),
        ("0,1,300,1,1", 3, "rating '300' is not a whole number from -128 to 127"),
        ("0,1,9,1,1,1", 3, "6 fields where there should be 5"),
        ("0,1,9", 3, "3 fields where there should be 5"),
        ("0,99999999999,9,1,1", 3, "anime_id '99999999999'"),
    ],
)
def test_2020_a_bad_cell_is_named_with_its_line(tmp_path: Path, bad: str, line: int, what: str) -> None:
    path = kaggle_2020(tmp_path) / "animelist.csv"
    path.write_text(f"user_id,anime_id,rating,watching_status,watched_episodes\n0,67,9,1,1\n{bad}\n1,1,1,1,1\n")
    with pytest.raises(ValueError, match=rf"animelist\.csv line {line}: {what}"):
        all_of(SET["2020"].lists, path)
    # the first row goes another way through pandas
    path.write_text(f"user_id,anime_id,rating,watching_status,watched_episodes\n{bad}\n1,1,1,1,1\n")
    with pytest.raises(ValueError, match=rf"animelist\.csv line {line - 1}: {what}"):
        all_of(SET["2020"].lists, path)


def test_2020_a_field_too_many_in_every_row_is_no_shift_of_columns(tmp_path: Path) -> None:
    path = kaggle_2020(tmp_path) / "animelist.csv"
    path.write_text("user_id,anime_id,rating,watching_status,watched_episodes\n0,67,9,1,1,5\n1,67,9,1,1,5\n")
    with pytest.raises(ValueError, match=r"animelist\.csv line 2: 6 fields where there should be 5"):
        all_of(SET["2020"].lists, path)


def test_2020_chunks_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = kaggle_2020(tmp_path)
    whole = lists_of(SET["2020"], folder)
    monkeypatch.setattr(kaggle, "CHUNK", 2)
    chunks = list(SET["2020"].lists(folder / "animelist.csv", NO_OPTIONS, {}))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert lists_of(SET["2020"], folder).equals(whole)


def test_2020_chunks_of_text_keep_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "CHUNK", 250)
    rows = "".join(f'1,Xinil,{title},"a\nb",{title % 10}\n' for title in range(600))
    folder = write(tmp_path, scores__csv=f"user_id,Username,anime_id,Anime Title,rating\n{rows}1,Xinil,1,t,ten\n")
    with pytest.raises(ValueError, match=r"scores\.csv line 1202: the rate 'ten' is not a number"):
        all_of(SET["2023"].lists, folder / "scores.csv")
    write(tmp_path, scores__csv=f"user_id,Username,anime_id,Anime Title,rating\n{rows}")
    chunks = list(SET["2023"].lists(folder / "scores.csv", NO_OPTIONS, {}))
    assert [len(chunk) for chunk in chunks] == [250, 250, 100]
    assert [title for chunk in chunks for title in chunk["subject_id"]] == [str(title) for title in range(600)]


def test_2018_names_times_and_statuses(tmp_path: Path) -> None:
    rows = lists_of(SET["2018"], kaggle_2018(tmp_path))
    assert rows["user_id"].tolist() == rows["username"].tolist() == ["karthiga", "null", "007"]
    assert rows["status"].tolist() == ["doing", "wish", ""]
    assert rows["updated_at"].tolist() == ["1362307973", "1362923691", "1362923691"]
    titles = titles_of(SET["2018"], tmp_path)
    assert titles["name"].tolist() == ["One Piece", "Chobits / ちょびっツ"]
    assert titles["year"].tolist() == ["1999", ""]
    assert titles["adult"].tolist() == ["", "1"]


def test_2018_cleaned_files_go_before_raw_ones(tmp_path: Path) -> None:
    folder = kaggle_2018(tmp_path)
    for raw, cleaned in (("UserAnimeList", "animelists_cleaned"), ("AnimeList", "anime_cleaned")):
        (folder / f"{cleaned}.csv").write_bytes((folder / f"{raw}.csv").read_bytes())
    assert found(SET["2018"], folder) == Files((folder / "animelists_cleaned.csv",), (folder / "anime_cleaned.csv",))


def test_2023_unknown_is_missing(tmp_path: Path) -> None:
    assert lists_of(SET["2023"], kaggle_2023(tmp_path))["username"].tolist() == ["Xinil", "Xinil"]
    titles = titles_of(SET["2023"], tmp_path)
    assert titles["name"].tolist() == ["One Piece / ワンピース", ".hack//Sign"]
    assert titles["tags_name"].tolist() == ['["Action", "Fantasy"]', "[]"]
    assert titles["summary"].tolist() == ["Gol D. Roger, the King", ""]


def test_2016_minus_one_is_unrated_and_entities_are_read(tmp_path: Path) -> None:
    assert lists_of(SET["2016"], kaggle_2016(tmp_path))["rate"].tolist() == [0, 8]
    titles = titles_of(SET["2016"], tmp_path)
    assert titles["name"].tolist() == ["Gintama'", "Naruto"]
    assert titles["tags_name"].tolist() == ['["Action", "Comedy"]', "[]"]


def test_reviews_lose_their_block_of_scores(tmp_path: Path) -> None:
    rows = lists_of(SET["reviews"], kaggle_reviews(tmp_path))
    assert rows["comment"].tolist() == [
        'First things first.\n"My" review, Overall fine.',
        "No block here but Story 8 of it",
    ]
    assert rows["rate"].tolist() == [8, 10]
    titles = titles_of(SET["reviews"], tmp_path)
    assert titles["tags_name"].tolist() == ['["Comedy", "Sci-Fi"]', "[]"]
    assert titles["summary"].tolist() == ["Fifth season, & last", ""]
    assert titles["year"].tolist() == ["2017", ""]


def test_favourites_are_read_without_reviews(tmp_path: Path) -> None:
    (kaggle_reviews(tmp_path) / "reviews.csv").unlink()
    rows = lists_of(SET["reviews"], tmp_path)
    assert list(zip(rows["user_id"], rows["subject_id"], strict=True)) == [
        ("DesolatePsyche", "33352"),
        ("DesolatePsyche", "25013"),
    ]


def test_a_list_of_genres_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = kaggle_reviews(tmp_path)
    path = folder / "animes.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("[],", '"[\'Comedy",'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"animes\.csv line 3: .*'Comedy"):
        titles_of(SET["reviews"], folder)


@pytest.mark.parametrize("name", SET)
def test_a_bom_and_dos_lines_change_nothing(tmp_path: Path, name: str) -> None:
    make = {
        "2020": kaggle_2020,
        "2018": kaggle_2018,
        "2023": kaggle_2023,
        "2016": kaggle_2016,
        "reviews": kaggle_reviews,
    }[name]
    plain, dos = make(tmp_path / "plain"), make(tmp_path / "dos")
    for path in dos.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert lists_of(SET[name], dos).equals(lists_of(SET[name], plain))
    assert titles_of(SET[name], dos).equals(titles_of(SET[name], plain))


@pytest.mark.parametrize("inside", ["", "archive/"])
def test_a_zip_is_read_as_its_folder(tmp_path: Path, inside: str) -> None:
    folder = kaggle_2020(tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, inside + path.name)
    assert lists_of(SET["2020"], tmp_path / "archive.zip").equals(lists_of(SET["2020"], folder))
    assert titles_of(SET["2020"], tmp_path / "archive.zip").equals(titles_of(SET["2020"], folder))
    whole = (tmp_path / "archive.zip").read_bytes()
    (tmp_path / "archive.zip").write_bytes(whole[:-40])
    assert SET["2020"].find(tmp_path / "archive.zip") is None


def test_gzip_whole_and_cut_off(tmp_path: Path) -> None:
    folder = kaggle_2020(tmp_path)
    plain = folder / "animelist.csv"
    # rows that do not pack well, so that the cut is behind what tells the file
    plain.write_text(plain.read_text() + "".join(f"{n},{n * 7919 % 48000},{n % 11},2,1\n" for n in range(20000)))
    packed = gzip.compress(plain.read_bytes())
    write(tmp_path / "gz", animelist__csv__gz=packed)
    write(tmp_path / "cut", animelist__csv__gz=packed[:-20000])
    assert lists_of(SET["2020"], tmp_path / "gz").equals(all_of(SET["2020"].lists, plain))
    with pytest.raises(ValueError, match=r"animelist\.csv\.gz: not a whole gzip file"):
        lists_of(SET["2020"], tmp_path / "cut")


@pytest.mark.parametrize("name", SET)
def test_a_wrong_or_empty_file_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, wrong__csv="a,b\n1,2\n", empty__csv="", binary__csv=b"\0\1\2" * 100)
    for file in folder.iterdir():
        assert SET[name].find(file) is None
        for read in (SET[name].lists, SET[name].titles):
            with pytest.raises(ValueError, match=rf"{file.name} line 1: no column .*; give the file as downloaded"):
                all_of(read, file)


@pytest.mark.parametrize(
    "header", ["user_id,anime_id,rating,watching_status,watched_episodes", "user_id,anime_id,rating"]
)
def test_2020_a_header_without_rows_is_refused(tmp_path: Path, header: str) -> None:
    folder = write(tmp_path, rating_complete__csv=header + "\n")
    with pytest.raises(ValueError, match=r"rating_complete\.csv: no rows"):
        lists_of(SET["2020"], folder)


def test_titles_in_another_encoding_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = kaggle_2016(tmp_path)
    text = (folder / "anime.csv").read_text(encoding="utf-8").replace("Naruto", "Pokémon")
    (folder / "anime.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"anime\.csv line .*: not UTF-8 .*cp1252 it reads .*; save it as"):
        titles_of(SET["2016"], folder)
    path = kaggle_2020(folder) / "animelist.csv"
    path.write_bytes(path.read_bytes().replace(b"6702,7", b"6702,\xe9"))
    with pytest.raises(ValueError, match=r"animelist\.csv line .*: not UTF-8 .*cp1252 it reads .*; save it as"):
        all_of(SET["2020"].lists, path)


def test_an_unclosed_quote_is_named_with_the_line_it_starts_on(tmp_path: Path) -> None:
    folder = kaggle_2016(tmp_path)
    with (folder / "anime.csv").open("a", encoding="utf-8") as file:
        file.write('30,"Neon Genesis,Action,TV,26,8,9\n31,Other,Action,TV,1,8,9\n')
    with pytest.raises(ValueError, match=r"anime\.csv line 4: .*close(d| every double quote)"):
        titles_of(SET["2016"], folder)


def test_a_name_with_a_comma_that_is_not_quoted_is_refused(tmp_path: Path) -> None:
    folder = kaggle_2016(tmp_path)
    with (folder / "anime.csv").open("a", encoding="utf-8") as file:
        file.write("30,Oh, Family,Action,TV,26,8,9\n")
    with pytest.raises(ValueError, match=r"anime\.csv line 4: 8 fields where there should be 7"):
        titles_of(SET["2016"], folder)


def test_a_film_called_unknown_keeps_its_name_and_loses_the_missing_ones(tmp_path: Path) -> None:
    write(
        tmp_path,
        anime__csv=(
            "MAL_ID,Name,Score,Genres,English name,Japanese name,Type,Episodes,Aired,Premiered,Rating\n"
            "9,Unknown,Unknown,Unknown,UNKNOWN,アンノウン,TV,1,2009,Unknown,PG\n"
        ),
    )
    assert titles_of(SET["2020"], tmp_path)["name"].tolist() == ["Unknown / アンノウン"]


@pytest.mark.parametrize("name", ["rating.csv", "rating_complete.csv"])
def test_a_column_of_row_numbers_and_ids_as_floats_change_nothing(tmp_path: Path, name: str) -> None:
    rows = "".join(f"{n},{n}.0,{20 + n}.0,8\n" if name == "rating.csv" else f"{n},{n},{20 + n},8\n" for n in range(3))
    write(tmp_path, **{name.replace(".", "__"): f",user_id,anime_id,rating\n{rows}"})
    (owner,) = [made for made in kaggle.FORMATS if made.find(tmp_path)]
    assert owner.name == {"rating.csv": "kaggle-2016", "rating_complete.csv": "kaggle-2020"}[name]
    table = lists_of(owner, tmp_path)
    assert table[["user_id", "subject_id", "rate"]].to_numpy().tolist()[1] == ["1", "21", 8]
