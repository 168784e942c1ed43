"""Names of titles as people write them: whose they are, and which season, film or extra."""

import pytest

from dataset.title_markers import EXTRA, FILM, FINAL, WORK, read_name, read_names

# of each franchise the names of its titles in five ways of writing: all have the first one's stem
ONE_WORK = [
    ("Gintama", "Gintama'", "Gintama°", "Gintama': Enchousen", "Gintama Movie: Kanketsu-hen - Yorozuya yo Eien Nare"),
    ("K-On!", "K-On!!", "K-On!: Live House!", "K-On!!: Keikaku!", "K-On! Movie"),
    ("Working!!", "Working'!!", "Working!!!", "Working!!!: Lord of the Takanashi"),
    ("Natsume Yuujinchou", "Zoku Natsume Yuujinchou", "Natsume Yuujinchou San", "Natsume Yuujinchou Shi"),
    ("Log Horizon", "Log Horizon 2nd Season", "Log Horizon II", "Log Horizon: Second Season", "Log Horizon S2"),
    ("School Rumble", "School Rumble Ni Gakki", "School Rumble San Gakki", "School Rumble OVA"),
    ("Code Geass", "Code Geass R2", "Code Geass: Hangyaku no Lelouch", "Code Geass: Hangyaku no Lelouch R2"),
    ("Kara no Kyoukai", "Kara no Kyoukai 4: Garan no Dou", "Kara no Kyoukai Remix: Gate of Seventh Heaven"),
    ("Dragon Ball Z", "Dragon Ball Z Movie 08: Moetsukiro!!", "Dragon Ball Z Special 1: Tatta Hitori"),
    ("Initial D First Stage", "Initial D Second Stage", "Initial D Fifth Stage"),
    ("Teekyuu", "Teekyuu 2", "Teekyuu 7", "Teekyuu 4 Specials"),
    ("Ranma ½", "Ranma ½ OVA", "Ranma ½ Specials"),
    ("Fairy Tail", "Fairy Tail (2014)", "Fairy Tail OVA", "Fairy Tail Movie 1: Houou no Miko"),
    ("Kiniro no Corda: Primo Passo", "Kiniro no Corda: Secondo Passo"),
    ("Pâtissière", "Patissiere", "PATISSIERE 2"),
    ("Shingeki no Kyojin", "Shingeki no Kyojin: The Final Season", "Shingeki no Kyojin Season 3 Part 2"),
    ("轻音少女", "轻音少女 第二季", "轻音少女 剧场版", "轻音少女 第2期"),
    ("夏目友人帐", "续 夏目友人帐", "夏目友人帐 肆", "夏目友人帐 特别篇", "夏目友人帐 第五季"),
    ("夏目友人帳", "続 夏目友人帳", "夏目友人帳 参", "夏目友人帳 第三期", "劇場版 夏目友人帳"),
    ("進擊的巨人", "進擊的巨人 第二季", "進擊的巨人 總集篇", "劇場版 進擊的巨人 前篇～紅蓮的弓矢～", "進擊的巨人 OVA"),
    ("進撃の巨人", "進撃の巨人 OAD", "劇場版 進撃の巨人 前編～紅蓮の弓矢～", "進撃の巨人 第2期"),
    ("火影忍者", "火影忍者剧场版 大兴奋！三日月岛上的动物骚乱", "火影忍者 剧场版 博人传"),
    ("命运石之门", "命运石之门 剧场版：负荷领域的既视感", "命运石之门 OVA"),
    ("网球并不可笑嘛", "网球并不可笑嘛 4期", "网球并不可笑嘛 第七季"),
    ("校园迷糊大王", "校园迷糊大王 二学期", "校园迷糊大王 三学期"),
]


@pytest.mark.parametrize("names", ONE_WORK, ids=[names[0] for names in ONE_WORK])
def test_titles_of_a_work_have_its_stem(names: tuple[str, ...]) -> None:
    assert {name: read_name(name).stem for name in names} == dict.fromkeys(names, read_name(names[0]).stem)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("One Piece", "One Punch Man"),
        ("Monster", "Monster Musume no Iru Nichijou"),
        ("Area 88", "Area 51"),
        ("Mob Psycho 100", "Mob Psycho"),
        ("Cyborg 009", "Cyborg"),
        ("海贼王", "海贼王子"),
        ("Special A", "Special 7"),
        ("Ni no Kuni", "San no Kuni"),
        ("!!!", "???"),
        ("Re: Cutie Honey", "Re: Hamatora"),
        ("Re：从零开始的异世界生活", "RE:人造人009"),
        ("The Third: Aoi Hitomi no Shoujo", "The TV Show"),
    ],
)
def test_other_works_have_another_stem(one: str, other: str) -> None:
    assert read_name(one).stem != read_name(other).stem


@pytest.mark.parametrize(
    ("name", "season", "part", "kind"),
    [
        ("Steins;Gate", 1, 0, WORK),
        ("Code Geass R2", 2, 0, WORK),
        ("Zoku Natsume Yuujinchou", 2, 0, WORK),
        ("Natsume Yuujinchou Shi", 4, 0, WORK),
        ("Kyou kara Maou! 3rd Series", 3, 0, WORK),
        ("Sekaiichi Hatsukoi 2", 2, 0, WORK),
        ("Lupin III: Part II", 3, 2, WORK),
        ("Uchuu Senkan Yamato: Kanketsu-hen", FINAL, 0, WORK),
        ("Nodame Cantabile Finale", FINAL, 0, WORK),
        ("夏目友人帐 肆", 4, 0, WORK),
        ("食戟之灵 贰之皿", 1, 0, WORK),
        ("とある科学の超電磁砲 第十期", 10, 0, WORK),
        ("Urusei Yatsura Movie 6: Itsudatte My Darling", 1, 6, FILM),
        ("Date A Live: Encore OVA", 2, 0, FILM),
        ("劇場版 銀魂 新訳紅桜篇", 1, 0, FILM),
        ("Yondemasu yo, Azazel-san. (TV)", 1, 0, WORK),
        ("Eyeshield 21", 1, 0, WORK),
        ("Durarara!! Specials", 1, 0, EXTRA),
        ("Higashi no Eden Soushuuhen: Air Communication", 1, 0, EXTRA),
        ("Boku wa Tomodachi ga Sukunai Episode 0", 1, 0, EXTRA),
        ("Toradora! Picture Drama", 1, 0, EXTRA),
        ("进击的巨人 总集篇", 1, 0, EXTRA),
    ],
)
def test_seasons_parts_and_kinds(name: str, season: int, part: int, kind: int) -> None:
    found = read_name(name)
    assert (found.season, found.part, found.kind) == (season, part, kind)


def test_what_differs_by_number_alone_is_a_line() -> None:
    films = [read_name(f"Break Blade {number}: {name}") for number, name in ((1, "Kakusei no Toki"), (2, "Ketsubetsu"))]
    assert films[0].line == films[1].line
    akito = [read_name(f"Code Geass: Boukoku no Akito {name}") for name in ("1 - Yokuryuu", "2 - Hikisakareshi")]
    assert akito[0].line == akito[1].line != read_name("Code Geass: Hangyaku no Lelouch R2").line


def test_every_name_of_a_title_is_read() -> None:
    stems = [name.stem for name in read_names("轻音少女 第二季 / けいおん!! / K-On!!")]
    assert stems == [("轻音少女",), ("けいおん",), ("k", "on")]
    assert len(read_names("")) == len(read_names(" / ")) == 1
