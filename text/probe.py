"""How a model behind a server is known: by the vector it gives one sentence, whatever name the server echoes."""

import base64
import binascii
import hashlib
import re

import numpy as np

SENTENCE = "A detective story in old Kyoto. 京都旧城里的侦探故事。京都の古い町を舞台にした探偵物語。"
SAME = 0.999  # cosine from which two vectors of the sentence are of one model; other machines and batches give 0.9999
N_SUMS = 48  # which tell such a cosine to within a fifth of its distance from 1
FORM = re.compile(r"(\d+)-([\w-]{64})", re.ASCII)


def mark_of(vector: np.ndarray) -> str:
    """Write down a vector of SENTENCE in brief: its length, and N_SUMS of its numbers with always the same signs.

    The sums keep the angle between two vectors, so that is_same needs no more than two marks.

    Source:
        Achlioptas 2003, Database-friendly random projections.
    """
    dim = len(vector)
    bits = np.frombuffer(hashlib.shake_256(b"signs").digest(-(-dim * N_SUMS // 8)), np.uint8)
    signs = 2.0 * np.unpackbits(bits)[: dim * N_SUMS].reshape(dim, N_SUMS) - 1
    sums = vector.astype(np.float64) @ signs
    steps = np.round(sums / max(np.abs(sums).max(), 1e-30) * 127).astype(np.int8)
    return f"{dim}-{base64.urlsafe_b64encode(steps.tobytes()).decode()}"


def is_mark(text: str) -> bool:
    """Tell whether a text is one that mark_of writes."""
    return bool(FORM.fullmatch(text))


def is_same(mark: str, other: str) -> bool:
    """Tell whether two marks are of one model: of vectors of one length whose cosine is SAME or more."""
    if mark == other:
        return True
    (dim, sums), (other_dim, other_sums) = _read(mark), _read(other)
    if dim != other_dim or not (sums.any() and other_sums.any()):
        return False
    return bool(sums @ other_sums >= SAME * np.linalg.norm(sums) * np.linalg.norm(other_sums))


def _read(mark: str) -> tuple[int, np.ndarray]:
    """Return the length and the sums of a mark; (0, zeros) where it is none."""
    try:
        dim, text = FORM.fullmatch(mark).groups()
        return int(dim), np.frombuffer(base64.urlsafe_b64decode(text), np.int8).astype(np.float64)
    except (AttributeError, ValueError, binascii.Error):
        return 0, np.zeros(N_SUMS)
