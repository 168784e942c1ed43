"""XML that a program wrote without escaping it, and texts that were UTF-8 and were taken for Latin-1."""

import re

MARKUP = r"(?P<cdata><!\[CDATA\[.*?\]\]>)|(?P<comment><!--.*?-->)"
# what XML 1.0 does not allow, as a character or as a reference to one
BAD = "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]"
REFERENCE = r"&(?P<entity>#\d+|#[xX][0-9a-fA-F]+|\w+)?(?P<end>;)?"
KNOWN_ENTITIES = ("amp", "lt", "gt", "quot", "apos")
HTML = "a|b|br|div|em|hr|i|img|p|span|strong|u"  # in the middle of a comment, where no element of XML is called so
LESS = rf"<(?![/!?A-Za-z_])|<(?=/?(?:{HTML})\b[^<>]*>)"
# a character of UTF-8 whose bytes were taken for Latin-1
SEQUENCE = (
    "[\u00c2\u00c3\u00c4\u00c5\u00ce\u00cf\u00d0\u00d1][\u0080-\u00bf]|[\u00e2-\u00ef][\u0080-\u00bf]{2}|"
    "[\u00f0-\u00f4][\u0080-\u00bf]{3}"
)
# the characters that Windows has in the place of C1 controls
WINDOWS = {ord(bytes([n]).decode("cp1252")): n for n in range(0x80, 0xA0) if n not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}


def mended_xml(text: str) -> tuple[str, int]:
    """Escape what should have been escaped, and leave out characters that XML does not allow.

    Returns:
        The text, and in how many places it was changed.
    """
    text, n_bad = re.subn(BAD, "", text)
    n_changed = n_bad

    def mend(found: re.Match[str]) -> str:
        nonlocal n_changed
        whole = found[0]
        if found["cdata"]:
            return whole
        if found["comment"]:
            changed = "<!--" + re.sub("-(?=-)|-$", "- ", whole[4:-3]) + "-->"
        elif whole[0] == "<":
            changed = "&lt;"
        else:
            changed = _reference(found)
        n_changed += changed != whole
        return changed

    return re.sub(f"{MARKUP}|{REFERENCE}|{LESS}", mend, text, flags=re.DOTALL), n_changed


def _reference(found: re.Match[str]) -> str:
    """Return a reference that XML knows, "" for one to a character that it does not allow, else its & escaped."""
    entity = found["entity"] or ""
    if not found["end"] or not entity:
        return "&amp;" + found[0][1:]
    if not entity.startswith("#"):
        return found[0] if entity in KNOWN_ENTITIES else "&amp;" + found[0][1:]
    number = int(entity[2:], 16) if entity[1] in "xX" else int(entity[1:10])
    return found[0] if number < 0x110000 and not re.fullmatch(BAD, chr(number)) else ""


def unmixed(text: str) -> str:
    """Return a text as it was meant whose every character beyond ASCII was taken for Latin-1, or as it is.

    "plutÃ´t" is "plutôt". Where even one character below U+0100 is no part of such a sequence the text stays.
    """
    as_bytes = text.translate(WINDOWS)
    rest, n_found = re.subn(SEQUENCE, "", as_bytes)
    # «É»: what may end a word beside a capital in French or Spanish is no evidence by itself
    is_sure = re.search(
        "[\u00c2\u00c3\u00d0\u00d1][\u0080-\u00bf]|[\u00e2-\u00ef][\u0080-\u009f\u00a1-\u00bf]", as_bytes
    )
    if not n_found or not is_sure or re.search("[\u0080-\u00ff]", rest):
        return text
    try:
        return re.sub(SEQUENCE, lambda found: found[0].encode("latin-1").decode("utf-8"), as_bytes)
    except UnicodeDecodeError:
        return text
