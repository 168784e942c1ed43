"""A small sample of each format that several importers could take for theirs, written as the real files are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from importers.common import Files, Format, Options

NO_OPTIONS = Options()


def write(folder: Path, **texts: str | bytes) -> Path:
    """Write files, in whose names "__" stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def all_of(read: Callable, path: Path, options: Options = NO_OPTIONS) -> pd.DataFrame:
    """Read a file whole."""
    return pd.concat(list(read(path, options, {})), ignore_index=True)


def lists_of(made: Format, source: Path, options: Options = NO_OPTIONS) -> pd.DataFrame:
    """Find the lists of a source and read them, as the converter does."""
    return pd.concat([all_of(made.lists, path, options) for path in found(made, source).lists], ignore_index=True)


def titles_of(made: Format, source: Path, options: Options = NO_OPTIONS) -> pd.DataFrame:
    """Find the titles of a source and read them, as the converter does."""
    return pd.concat([all_of(made.titles, path, options) for path in found(made, source).titles], ignore_index=True)


def found(made: Format, source: Path) -> Files:
    files = made.find(source)
    assert files is not None, f"{made.name} does not know {source}"
    return files


def kaggle_2020(folder: Path) -> Path:
    return write(
        folder,
        animelist__csv=(
            "user_id,anime_id,rating,watching_status,watched_episodes\n"
            "0,67,9,1,1\n0,6702,7,2,4\n1,1,0,3,2\n1,67,3,4,1\n2,1,0,6,0\n"
        ),
        rating_complete__csv=("user_id,anime_id,rating\n0,6702,7\n5,1,10\n"),
        watching_status__csv=("status, description\n1,Currently Watching\n"),
        anime__csv=(
            "MAL_ID,Name,Score,Genres,English name,Japanese name,Type,Episodes,Aired,Premiered,Rating\n"
            '1,Cowboy Bebop,8.78,"Action, Adventure, Sci-Fi",Cowboy Bebop,カウボーイビバップ,TV,26,'
            '"Apr 3, 1998 to Apr 24, 1999",Spring 1998,R - 17+\n'
            '67,Basilisk: Kouga Ninpou Chou,7.66,"Action, Hentai",Basilisk,Unknown,TV,24,Unknown,Unknown,Rx\n'
            "6702,Fairy Tail &amp; Co,Unknown,Unknown,Unknown,Unknown,TV,1,2009,Unknown,PG\n"
        ),
        anime_with_synopsis__csv=(
            "MAL_ID,Name,Score,Genres,sypnopsis\n"
            '1,Cowboy Bebop,8.78,"Action","n the year 2071, humanity\nhas ""moved"" &quot;out&quot;"\n'
            "67,Basilisk,7.66,Action,No synopsis information has been added to this title. Help improve our database.\n"
        ),
    )


def kaggle_2018(folder: Path) -> Path:
    return write(
        folder,
        UserAnimeList__csv=(
            "username,anime_id,my_watched_episodes,my_start_date,my_finish_date,my_score,my_status,my_rewatching,"
            "my_rewatching_ep,my_last_updated,my_tags\n"
            "karthiga,21,586,0000-00-00,0000-00-00,9,1,,0,1362307973,\n"
            'null,59,26,0000-00-00,2013-01-01,0,6,0,0,1362923691,"good, old"\n'
            "007,21,1,0000-00-00,0000-00-00,7,33,,0,1362923691,\n"
        ),
        AnimeList__csv=(
            "anime_id,title,title_english,title_japanese,title_synonyms,type,aired_string,aired,genre\n"
            "21,One Piece,One Piece,ONE PIECE,OP,TV,\"Oct 20, 1999 to ?\",\"{'from': '1999-10-20', 'to': None}\","
            '"Action, Shounen"\n'
            "59,Chobits,,ちょびっツ,,TV,Not available,{},Hentai\n"
        ),
    )


def kaggle_2023(folder: Path) -> Path:
    return write(
        folder,
        **{
            "users-score-2023__csv": (
                "user_id,Username,anime_id,Anime Title,rating\n1,Xinil,21,One Piece,9\n1,Xinil,48,.hack//Sign,7\n"
            ),
            "anime-dataset-2023__csv": (
                "anime_id,Name,English name,Other name,Score,Genres,Synopsis,Type,Episodes,Aired\n"
                '21,One Piece,UNKNOWN,ワンピース,8.69,"Action, Fantasy","Gol D. Roger, the King",'
                'TV,UNKNOWN,"Oct 20, 1999"\n'
                "48,.hack//Sign,UNKNOWN,UNKNOWN,UNKNOWN,UNKNOWN,No description available for this anime.,TV,1,Unknown\n"
            ),
        },
    )


def kaggle_2016(folder: Path) -> Path:
    return write(
        folder,
        rating__csv="user_id,anime_id,rating\n1,20,-1\n1,24,8\n",
        anime__csv=(
            "anime_id,name,genre,type,episodes,rating,members\n"
            '24,Gintama&#039;,"Action, Comedy",TV,51,9.16,114262\n20,Naruto,,TV,220,,9\n'
        ),
    )


def kaggle_reviews(folder: Path) -> Path:
    block = (
        "\n           \n         \n           more pics \n       \n           Overall\n           8\n         \n"
        "           Story\n 8\n  Animation\n 9\n Sound\n 10\n Character\n 9\n Enjoyment\n 8\n         \n"
    )
    return write(
        folder,
        reviews__csv=(
            "uid,profile,anime_uid,text,score,scores,link\n"
            f'255938,DesolatePsyche,34096,"{block}First things first. \n\n\n ""My"" review, Overall fine. \n \n'
            "          Helpful\n \n  read more\n \",8,\"{'Overall': '8', 'Story': '8'}\",https://myanimelist.net/1\n"
            "259117,baekbeans,34599,No block here but Story 8 of it,10,{},https://myanimelist.net/2\n"
        ),
        animes__csv=(
            "uid,title,synopsis,genre,aired,episodes,members,popularity,ranked,score,img_url,link\n"
            '34096,Gintama.,"Fifth season, &amp; last","[\'Comedy\', \'Sci-Fi\']","Jan 9, 2017 to Mar 27, 2017",'
            "12,1,2,3,9,x,y\n"
            "34599,Made in Abyss,,[],,13,1,2,3,8,x,y\n"
        ),
        profiles__csv=(
            "profile,gender,birthday,favorites_anime,link\n"
            "DesolatePsyche,Male,\"Oct 2, 1994\",\"['33352', '25013']\",https://x\nbaekbeans,Female,,[],https://y\n"
        ),
    )


def movielens_latest(folder: Path) -> Path:
    return write(
        folder,
        ratings__csv="userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,0.5,964981247\n",
        movies__csv=(
            "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation|Sci-Fi\n"
            '3,"Matrix, The (1999)",(no genres listed)\n5,2001: A Space Odyssey (1968),Sci-Fi\n'
        ),
        tags__csv=(
            "userId,movieId,tag,timestamp\n1,1,pixar,1\n2,1,fun,3\n3,1,fun,3\n2,1,Pixar,2\n4,1,PIXAR,2\n3,1,sci-fi,4\n"
        ),
        links__csv="movieId,imdbId,tmdbId\n1,0114709,862\n",
    )


def movielens_1m(folder: Path) -> Path:
    return write(
        folder,
        ratings__dat="1::1193::5::978300760\n1::661::3::978302109\n",
        movies__dat=(
            "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n1193::Misérables, Les (1995)::Drama\n"
        ).encode("latin-1"),
        users__dat="1::F::1::10::48067\n",
    )


def movielens_100k(folder: Path) -> Path:
    flags = ["0"] * 19
    flags[3] = flags[4] = "1"  # behind "unknown": Animation and Children's
    return write(
        folder,
        u__data="196\t242\t3\t881250949\r\n186\t302\t3\t891717742\r\n",
        u__item=(
            f"242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|{'|'.join(flags)}\n"
            f"302|Brève rencontre|01-Jan-1945|||{'|'.join(flags)}\n"
        ).encode("latin-1"),
        u__user="1|24|M|technician|85711\n",
        u__genre="unknown|0\nAction|1\n",
    )


def recbole(folder: Path) -> Path:
    return write(
        folder,
        **{
            "ml-100k__inter": (
                "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t0242\t3\t881250949\n186\t302\t-1\t891717742\n"
            ),
            "ml-100k__item": (
                "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
                '0242\t"Kolya" the boy\t1996\tComedy Drama\n'
                "302\tL.A. Confidential\t1997\t'Film & Noir', 'Crime'\n"
            ),
            "ml-100k__user": "user_id:token\tage:token\n196\t49\n",
        },
    )


def amazon_2018(folder: Path) -> Path:
    return write(
        folder,
        Movies_and_TV__json=(
            '{"overall": 5.0, "verified": true, "reviewTime": "11 9, 2012", "reviewerID": "A2M1CU2IRZG0K9", "asin": '
            '"0005089549", "reviewerName": "Terri &amp; Co", "reviewText": "So \\"sorry\\"<br />it\'s gone", '
            '"summary": "Amazing", "unixReviewTime": 1352419200}\n'
            '{"overall": 3.0, "reviewerID": "A1", "asin": "0005089549", "unixReviewTime": 1352419201}\n'
        ),
        meta_Movies_and_TV__json=(
            '{"category": ["Movies &amp; TV", "Anime"], "description": ["One.", "Two."], "title": "A &amp; B <i>", '
            '"feature": ["New"], "asin": "0005089549"}\n'
        ),
    )


def amazon_2023(folder: Path) -> Path:
    return write(
        folder,
        Movies_and_TV__jsonl=(
            '{"rating": 4.0, "title": "Great", "text": "Fun <br /> &#34;yes&#34;", "images": [], "asin": "B1", '
            '"parent_asin": "B0", "user_id": "AE22", "timestamp": 1598567408138, "helpful_vote": 0}\n'
            '{"rating": 1, "title": "", "text": "", "asin": "B9", "parent_asin": "", "user_id": "AE23", '
            '"sortTimestamp": 1598567408999}\n'
        ),
        meta_Movies_and_TV__jsonl=(
            '{"main_category": "Movies & TV", "title": "Akira", "features": ["4K"], "description": ["Neo-Tokyo."], '
            '"categories": ["Movies & TV", "Anime"], "parent_asin": "B0"}\n'
        ),
    )


def pairs(folder: Path) -> Path:
    return write(
        folder,
        seen__csv="uid;item id;stars\nann;007;4,5\nbob;42;3\n".replace("4,5", "4.5"),
        titles__csv='item_id;title;genres\n007;Akira;"SF, Action"\n42;Ran;\n',
    )


def mmrec(folder: Path) -> Path:
    return write(
        folder,
        baby__inter="userID\titemID\trating\ttimestamp\tx_label\n1\t03\t1.0\t15\t0\n1\t9\t4.0\t16\t1\n2\t9\t5.0\t17\t2\n",
    )


def recbole_parts(folder: Path) -> Path:
    header = "user_id:token\titem_id:token\n"
    parts = {"train": "1\t03\n2\t9\n", "valid": "1\t9\n", "test": "2\t03\n", "cold_test": "2\t7\n"}
    return write(
        folder,
        **{f"ml__{part}__inter": header + rows for part, rows in parts.items()},
        ml__item="item_id:token\tname:token_seq\n03\ta\n9\tb\n7\tc\n",
    )


def lightgcn(folder: Path) -> Path:
    return write(folder, train__txt="0 03 9\n1 9\n\n2\n", valid__txt="1 7\n", test__txt="0 7\n1 03\n")


def selfrec(folder: Path) -> Path:
    return write(folder, train__txt="0 3 1\n0 9 1\n1 9 1\n1 3 0.5\n", test__txt="0 7 1\n1 7 1\n")


def rlmrec(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = {"trn": ([0, 1, 1], [3, 9, 0]), "val": ([0], [9]), "tst": ([1], [3])}
    makes = {"trn": sp.coo_matrix, "val": sp.csr_matrix, "tst": sp.csc_matrix}
    for name, (users, items) in pairs.items():
        matrix = sp.coo_matrix((np.array([1, 2, 0][: len(users)], np.float32), (users, items)), (2, 10))
        sp.save_npz(folder / f"{name}_mat.npz", makes[name](matrix))
    return folder


PUBLISHED = {
    "recbole mmrec": mmrec,
    "recbole parts": recbole_parts,
    "lightgcn": lightgcn,
    "lightgcn selfrec": selfrec,
    "rlmrec": rlmrec,
}
SAMPLES = {
    "kaggle-2020": kaggle_2020,
    "kaggle-2018": kaggle_2018,
    "kaggle-2023": kaggle_2023,
    "kaggle-2016": kaggle_2016,
    "kaggle-reviews": kaggle_reviews,
    "movielens": movielens_latest,
    "movielens 1m": movielens_1m,
    "movielens 100k": movielens_100k,
    "recbole": recbole,
    "amazon-2018": amazon_2018,
    "amazon-2023": amazon_2023,
    "pairs": pairs,
}
