"""The table of Bangumi's collection export tool."""

from pathlib import Path

from importers import read_export

HEAD = "\ufeff名称,别名,发行日期,地址,封面地址,收藏日期,我的评分,标签,吐槽,其它信息"


def put(folder: Path, *rows: str, head: str = HEAD, name: str = "ann-anime.csv") -> Path:
    (folder / name).write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder / name


def test_a_table_is_read(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "轻音少女,けいおん!,2009-04-02,https://bgm.tv/subject/1424,x,2012-03-04,9,日常,好看,y",
        "乾,K,,https://bgm.tv/subject/9/,x,2012-03-05,,,,",
        "甲,,,https://bgm.tv/subject/0,x,2012-03-05,,,,",
    )
    name, rows = read_export(path)
    assert name == "bangumi-tool"
    assert rows[["user_id", "subject_id", "rate", "comment", "updated_at", "name"]].to_numpy().tolist() == [
        ["ann-anime", "1424", 9, "好看", "2012-03-04", "轻音少女 / けいおん!"],
        ["ann-anime", "9", 0, "", "2012-03-05", "乾 / K"],
    ]
    assert rows.attrs["told"] == ("left out: 1 without a subject's address",)


def test_kinds_and_statuses_where_the_table_has_them(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "甲,https://bgm.tv/subject/1,2012-03-04,9,动画,想看",
        "乙,https://bgm.tv/subject/2,2012-03-04,9,书籍,看过",
        head="名称,地址,收藏日期,我的评分,类别,状态",
        name="mine.csv",
    )
    _, rows = read_export(path)
    assert rows[["subject_id", "status"]].to_numpy().tolist() == [["1", "wish"]]
    assert rows.attrs["told"] == ("left out: 1 of other kinds than anime",)


def test_an_unknown_kind_is_told(tmp_path: Path) -> None:
    _, rows = read_export(put(tmp_path, "甲,,,https://bgm.tv/subject/1,x,2012-03-04,9,,,", name="mine.csv"))
    assert "nothing in it says whether its titles are anime or manga" in rows.attrs["told"][0]
