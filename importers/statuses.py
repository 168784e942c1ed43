"""What sites and the programs around them call the statuses of a list, in the languages that their exports come in."""

import logging
import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.tables import on_one_line

log = logging.getLogger("aglrec")

# words as the exports write them; case, spaces, hyphens and the like do not count
WORDS = {
    "doing": "watching|currently watching|current|doing|in progress|rewatching|смотрю|дивлюсь|дивлюся|пересматриваю|"
    "в процессе|在看|在看的|正在看|觀看中|观看中|視聴中|見てる|見ている|再視聴中|시청중|시청 중|보는중|viendo|"
    "assistindo|en cours|en visionnage|am schauen|schaue|schaue ich|läuft|in corso|guardando|in visione|"
    "oglądam|oglądane|izleniyor|izliyorum|sedang ditonton|menonton|đang xem",
    "done": "completed|complete|finished|done|watched|seen|repeating|просмотрено|просмотренное|посмотрел|переглянуто|"
    "завершено|看過|看过|看过的|看完|已看|已看完|已完成|完成|視聴済|視聴済み|見た|見終わった|完了|시청완료|"
    "시청 완료|완료|봤어요|completado|completada|visto|terminado|completo|concluído|terminé|vu|complété|"
    "abgeschlossen|gesehen|geschaut|completato|obejrzane|ukończone|tamamlandı|izlendi|izledim|selesai|đã xem|"
    "hoàn thành",
    "on_hold": "on hold|paused|hold|stalled|отложено|відкладено|на паузе|приостановлено|擱置|搁置|暫停|暂停|一時停止|"
    "一時中断|中断|保留|보류|일시중지|en espera|en pausa|pausado|em espera|en pause|en attente|pausiert|"
    "unterbrochen|in pausa|in attesa|wstrzymane|beklemede|askıda|ditunda|tạm dừng|tạm hoãn",
    "dropped": "dropped|drop|abandoned|stop watching|брошено|заброшено|кинуто|закинуто|拋棄|抛弃|棄番|弃番|棄坑|弃坑|"
    "放棄|放弃|視聴中止|視聴中断|見るのをやめた|하차|중단|abandonado|abandonada|dejado|desistido|desisti|"
    "abandonné|abandonnée|abgebrochen|abbandonato|droppato|porzucone|rzucone|bırakıldı|bıraktım|dihentikan|"
    "bỏ|đã bỏ|ngừng xem",
    "wish": "plan to watch|ptw|planning|wanna watch|planned|plan|wish|wishlist|want to watch|watchlist|запланировано|"
    "запланированно|в планах|буду смотреть|заплановано|想看|想看的|計劃觀看|计划观看|準備看|准备看|見たい|視聴予定|"
    "これから見る|볼예정|볼 예정|예정|보고싶어요|planeado|planeado para ver|pendiente|por ver|para ver|"
    "planejado|planejo assistir|pretendo assistir|à voir|prévu|planifié|geplant|noch zu schauen|pianificato|"
    "da vedere|in programma|planowane|planuję obejrzeć|planlandı|izlenecek|rencana|rencana ditonton|"
    "dự định xem|muốn xem",
}


def _key(word: str) -> str:
    return re.sub(r"\W|_", "", unicodedata.normalize("NFKC", word).casefold())


_STATUS = {_key(word): status for status, words in WORDS.items() for word in words.split("|")}


def status_of(word: str | None) -> str | None:
    """Return the status that a word means, "" for none at all, None for a word that is not known."""
    return _STATUS.get(_key(word)) if word and word.strip() else ""


NUMBERED = {"1": "doing", "2": "done", "3": "on_hold", "4": "dropped", "6": "wish"}  # of MyAnimeList
OF_MAL = ("mystatus", "watchingstatus")  # columns of data sets of MyAnimeList
SAYS_NONE = ("", "nan", "none", "null", "n/a", "-")  # in lower case
NAMED = 3


class Statuses:
    """A column of statuses of a table, as it comes; words that are no status count as collected, and are told."""

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.column = path, column
        self.numbered = NUMBERED if _key(column) in OF_MAL else {}
        self.unknown: dict[str, int] = {}

    def clean(self, cells: pd.Series) -> np.ndarray:
        """Return the statuses of some rows (n,)."""
        codes, words = pd.factorize(cells)
        found = [self.numbered.get(word.removesuffix(".0")) or status_of(word) for word in words]
        for word, status, n in zip(words, found, np.bincount(codes, minlength=len(words)), strict=True):
            if status is None and word.casefold() not in SAYS_NONE:
                self.unknown[word] = self.unknown.get(word, 0) + int(n)
        return np.array([status or "" for status in found], dtype=object)[codes]

    def tell(self) -> None:
        """Log what was found in all rows."""
        if self.unknown:
            often = sorted(self.unknown, key=self.unknown.__getitem__, reverse=True)
            some = ", ".join(repr(on_one_line(word, 30)) for word in often[:NAMED]) + ", ..." * (len(often) > NAMED)
            log.warning(
                f"{self.path}: {sum(self.unknown.values()):,} cells of {self.column} are no known status ({some}), and "
                "these rows count as collected; write completed, watching, on hold, dropped or plan to watch"
            )
