"""What an encoder makes of the language itself, which shifts all texts of one language alike, whatever they say."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from text.encoders import Encode
from text.scripts import is_foreign, script_of

# the same short summaries in the languages that titles are described in most, by script
SAME = {
    "LATIN": (
        "A boy who wants to become the strongest sets out on a journey and meets friends on the way.",
        "Two pupils of a high school slowly fall in love, but neither dares to say so.",
        "In the near future, pilots fight a war among the stars with giant robots.",
        "A group of girls start a band at their school and dream of playing on a great stage.",
        "A detective solves a series of strange murders in an old city.",
        "After his death a man is reborn in another world, where magic and monsters are real.",
        "A young cook inherits a small restaurant and learns what his guests need.",
        "A team of beginners trains hard to win the national championship.",
        "Ghosts and demons live among people, and only one family can see them.",
        "A quiet story about everyday life in a village by the sea.",
        "When war breaks out between two kingdoms, a princess has to decide whom she can trust.",
        "A funny show about a family of cats and the trouble that they make.",
    ),
    "CJK": (
        "一个想成为最强者的少年踏上旅途，在路上结识了伙伴。",
        "两名高中生渐渐相爱，却谁也不敢说出口。",
        "在不远的未来，驾驶员操纵巨大机器人在群星之间作战。",
        "一群女孩在学校里组建乐队，梦想登上盛大的舞台。",
        "一名侦探在古老的城市里侦破一连串离奇的谋杀案。",
        "一个男人死后转生到异世界，那里的魔法和怪物都是真的。",
        "一位年轻的厨师继承了一家小餐馆，学会了解客人的需要。",
        "一支由新手组成的队伍刻苦训练，想要赢得全国大赛。",
        "鬼怪生活在人类之中，只有一个家族能够看见它们。",
        "讲述海边村庄日常生活的安静故事。",
        "两个王国之间爆发战争，公主必须决定可以信任谁。",
        "一部搞笑作品，讲一家子猫和它们惹出的麻烦。",
    ),
    "KANA": (
        "最強を目指す少年が旅に出て、道の途中で仲間と出会う。",
        "二人の高校生は少しずつ惹かれ合うが、どちらも言い出せない。",
        "近い未来、パイロットたちは巨大ロボットで星々の間の戦争を戦う。",
        "少女たちが学校でバンドを始め、大きな舞台で演奏することを夢見る。",
        "探偵が古い街で起きた奇妙な連続殺人事件を解決する。",
        "死んだ男が、魔法と魔物が本当にいる異世界に生まれ変わる。",
        "若い料理人が小さな食堂を継ぎ、客が何を求めているかを学ぶ。",
        "初心者ばかりのチームが全国大会の優勝を目指して練習に励む。",
        "妖怪や鬼が人の間で暮らしているが、それが見えるのは一つの家族だけだ。",
        "海辺の村の日常を描いた静かな物語。",
        "二つの王国の間で戦争が始まり、王女は誰を信じるかを決めなければならない。",
        "猫の一家と、彼らが起こす騒ぎを描いた愉快な作品。",
    ),
}


def without_language(
    encode: Encode, texts: Sequence[str], vectors: np.ndarray, scripts: Sequence[str], as_query: bool = False
) -> np.ndarray:
    """Move the vectors of texts that are foreign to others to where they would be in the others' language.

    Multilingual encoders give all texts of a language a part in common, by which a text is nearer to what looks like
    its language than to what says the same. That part is measured by SAME and taken away.

    Args:
        encode: the encoder.
        texts: n of them, their scripts say their languages.
        vectors: (n, L) what it makes of them.
        scripts: of the others, see scripts.is_foreign; the most common one is theirs.
        as_query: whether the vectors are of queries.

    Returns:
        (n, L) of length 1, or as they were; texts that are not foreign, or in a language that SAME lacks, stay.
    """
    main = Counter(filter(None, scripts)).most_common(1)
    moved = vectors.copy()
    for row, text in enumerate(texts):
        own = script_of(text)
        if main and vectors[row].any() and is_foreign(text, scripts) and {own, main[0][0]} <= SAME.keys():
            vector = vectors[row] - _shift(encode, own, main[0][0], as_query)
            moved[row] = vector / max(np.linalg.norm(vector), 1e-12)
    return moved


@lru_cache(maxsize=16)
def _shift(encode: Encode, own: str, others: str, as_query: bool) -> np.ndarray:
    """Return how far the same sentences are apart in two languages, on average: (L,)."""
    own_vectors, others_vectors = (encode([*SAME[script]], as_query=as_query) for script in (own, others))
    return (own_vectors - others_vectors).mean(axis=0)
