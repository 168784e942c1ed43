"""recommend.py: someone's list from a site."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from inference import user_list
from tests.helpers.recommend import listed

Call = Callable[..., tuple[int, str, str]]


# --- someone's list from a site ---


def exported(*rows: tuple[str, ...], **more: list[str]) -> pd.DataFrame:
    """Return what importers.read_export does: rows of subject_id, name, status and rate."""
    table = pd.DataFrame(rows, columns=["subject_id", "name", "status", "rate"])
    return table.assign(rate=table["rate"].astype(float), user_id="me", username="Me", comment="", **more)


@pytest.fixture
def export_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[pd.DataFrame], str]:
    """Let a file hold such rows for the importers, and return its name."""

    def of(rows: pd.DataFrame) -> str:
        monkeypatch.setattr(user_list, "read_export", lambda path: ("mal", rows))
        (tmp_path / "list.xml").write_text("<x/>", encoding="utf-8")
        return str(tmp_path / "list.xml")

    return of


def test_an_exported_list_tells_taste_but_for_what_was_wished_dropped_or_disliked(
    call: Call, export_of: Callable[[pd.DataFrame], str]
) -> None:
    path = export_of(
        exported(
            ("s1", "title 1", "done", "8"),
            ("s2", "title 2", "", "0"),
            ("s3", "title 3", "wish", "0"),
            ("s4", "title 4", "dropped", "9"),
            ("s5", "title 5", "done", "0.5"),
            ("", "TITLE  6", "doing", "7"),
            ("zz", "title 7", "done", "7"),
            ("yy", "of another world", "done", "7"),
        )
    )
    code, printed, _ = call("--new_user", path, "--k", "30")
    assert code == 0
    assert (
        "list.xml (mal): of 8 titles, 6 are known here (1 by name): 3 count, all alike, since this run was trained "
        "without rates; 3 wished for, dropped or rated below 1 are only left out; not known here: title 7, of "
        "another world" in printed
    )
    by_hand = call("--new_user", "s1,s2,s6", "--k", "30")[1]
    assert listed(printed) == [raw for raw in listed(by_hand) if raw not in ("s3", "s4", "s5")]


def test_ids_of_another_site_count_for_nothing(call: Call, export_of: Callable[[pd.DataFrame], str]) -> None:
    rows = [(f"s{i}", f"title {i + 10}", "done", "8") for i in range(4)]
    theirs = listed(call("--new_user", export_of(exported(*rows)), "--k", "9")[1])
    assert theirs == listed(call("--new_user", "s10,s11,s12,s13", "--k", "9")[1])
    odd = listed(call("--new_user", export_of(exported(*rows, ("s20", "no such name", "done", "8"))), "--k", "9")[1])
    assert odd == theirs


def test_another_sites_id_beside_is_tried_next(call: Call, export_of: Callable[[pd.DataFrame], str]) -> None:
    rows = exported(("a1", "in words of theirs", "done", "8"), ("a2", "", "done", "8"), other_id=["s7", "s8"])
    assert listed(call("--new_user", export_of(rows))[1]) == listed(call("--new_user", "s7,s8")[1])


def test_where_the_first_ids_are_known_those_of_the_other_site_count_for_nothing(
    call: Call, export_of: Callable[[pd.DataFrame], str]
) -> None:
    """Under the number that a title has on the other site the run has another work."""
    rows = exported(("s7", "", "done", "8"), ("a2", "not in the run", "done", "8"), other_id=["x", "s8"])
    assert listed(call("--new_user", export_of(rows))[1]) == listed(call("--new_user", "s7")[1])


def test_an_id_that_is_not_here_is_no_other_title_whatever_its_name(
    call: Call, export_of: Callable[[pd.DataFrame], str]
) -> None:
    """Where the ids are those of the data, the second season is not the first, though a name of it is the same."""
    rows = [("s1", "title 1", "done", "8"), ("zz", "title 6", "done", "8")]
    printed = call("--new_user", export_of(exported(*rows)), "--k", "3")[1]
    assert "of 2 titles, 1 are known here (0 by name)" in printed
    assert listed(printed) == listed(call("--new_user", "s1", "--k", "3")[1])


def test_ids_that_no_name_bears_out_are_told(call: Call, export_of: Callable[[pd.DataFrame], str]) -> None:
    rows = [("s1", "Kimi no Na wa.", "done", "8"), ("s2", "Aria", "done", "8")]
    printed = call("--new_user", export_of(exported(*rows)), "--k", "3")[1]
    assert "of 2 titles, 2 are known here (0 by name)" in printed
    assert "though no name agrees (s1 is 'Kimi no Na wa.' in the list and 'title 1' here)" in printed
    doubtful = [("s1", "title 8", "done", "8"), ("x2", "title 9", "done", "8"), ("s3", "Aria", "done", "8")]
    printed = call("--new_user", export_of(exported(*doubtful)), "--k", "3")[1]
    assert "of 3 titles, 2 are known here (2 by name)" in printed


@pytest.mark.parametrize("rows", [[("zz", "nothing here", "done", "8")], [("s1", "title 1", "wish", "0")]])
def test_a_list_that_tells_nothing_is_a_sentence(
    call: Call, export_of: Callable[[pd.DataFrame], str], rows: list[tuple[str, ...]]
) -> None:
    code, _, error = call("--new_user", export_of(exported(*rows)))
    assert code == 2
    assert "0 count, all alike" in error
    assert "a list needs at least one that counts and is not disliked" in error


def test_an_id_is_no_file_even_where_a_file_is_called_so(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s1").write_text("no list", encoding="utf-8")
    assert call("--new_user", "s1")[0] == 0
    (tmp_path / "s2").mkdir()
    assert call("--new_user", "s2")[0] == 0
    (tmp_path / "lists").mkdir()
    assert "lists is a folder, and no title is called so" in call("--new_user", "lists")[2]


def test_unknown_entries_are_named_ten_at_most() -> None:
    assert user_list.shown_unknown([]) == ""
    assert user_list.shown_unknown([*"abcdefghij"]) == "; not known here: a, b, c, d, e, f, g, h, i, j"
    assert user_list.shown_unknown([*"abcdefghijkl"]).endswith("i, j and 2 more")
