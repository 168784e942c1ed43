"""The report in a real browser."""

import json
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.chromium import browser
from web.report_page import write_report

pytestmark = pytest.mark.slow


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; that it has moved is a part of the test."""
    return Path(shutil.copytree(whole, tmp_path / "saved"))


# --- in a browser ---


def browse(page: Path, width: int, height: int, *options: str) -> tuple[str, str]:
    """Open a page; returns what the browser wrote to stdout, and the lines of its console."""
    done = subprocess.run(
        [
            browser(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={page.parent / 'browser'}",
            f"--window-size={width},{height}",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def pixels(path: Path) -> np.ndarray:
    """Decode an 8-bit PNG without interlacing to (h, w, channels)."""
    data, place, body = path.read_bytes(), 8, b""
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", data[place + 8 : place + 18])
        if kind == b"IDAT":
            body += data[place + 8 : place + 8 + size]
        place += 12 + size
    depth = {2: 3, 6: 4}[colour]
    raw = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * depth).astype(int)
    rows = [[0] * width * depth]
    for kind, line in zip(raw[:, 0], raw[:, 1:], strict=True):
        rows.append(unfiltered(int(kind), line, rows[-1], depth))
    return np.array(rows[1:], np.uint8).reshape(height, width, depth)


def unfiltered(kind: int, line: np.ndarray, above: list[int], depth: int) -> list[int]:
    """Undo a row filter of PNG (section 9.2 of its specification)."""
    if kind < 3:
        done = (line, line.reshape(-1, depth).cumsum(axis=0).ravel(), line + np.array(above))[kind]
        return (done % 256).tolist()
    out = [0] * depth
    upper = [0] * depth + above
    for x, value in enumerate(line.tolist()):
        a, b, c = out[x], upper[x + depth], upper[x]
        guess = (a + b) // 2 if kind == 3 else min((a, b, c), key=lambda near: abs(a + b - c - near))
        out.append((value + guess) % 256)
    return out[depth:]


MEASURE = """<script>addEventListener("load", () => {
const all = query => [...document.querySelectorAll(query)], box = node => node.getBoundingClientRect();
const texts = all("figure svg text"), outside = (a, b) => a.left < b.left - 1 || a.right > b.right + 1;
parent.postMessage(JSON.stringify({inner: innerWidth, page: document.documentElement.scrollWidth,
text: Math.min(...texts.map(t => box(t).height)),
clipped: texts.filter(t => outside(box(t), box(t.ownerSVGElement))).length,
scrolling: all(".scroll").filter(d => d.scrollWidth > d.clientWidth).length}), "*"); })</script></body>"""
FRAME = """<title>none</title><script>addEventListener("message", event => { document.title = event.data })</script>
<iframe src="probe.html" style="border:0;width:WIDTHpx;height:900px"></iframe>"""


def measure(page: Path, width: int) -> dict[str, float]:
    """Lay a copy of the page out in a frame, since no browser window is as narrow as a phone, and measure it there."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8")).replace("</body>", MEASURE)
    (page.parent / "probe.html").write_text(text, encoding="utf-8")
    frame = page.parent / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    found, _ = browse(frame, 1400, 900, "--dump-dom", "--virtual-time-budget=2000")
    return json.loads(re.search(r"<title>(.*?)</title>", found).group(1))


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_the_page_opens_in_a_browser(saved: Path) -> None:
    page, looks = write_report(saved), {}
    for width, height, scheme in ((360, 800, 1), (1280, 900, 0)):
        picture = saved / f"{width}.png"
        _, console = browse(
            page, width, height, f"--screenshot={picture}", f"--blink-settings=preferredColorScheme={scheme}"
        )
        assert console == ""
        looks[width] = pixels(picture)
        assert looks[width].shape[:2] == (height, width)
        assert len(np.unique(looks[width].reshape(-1, looks[width].shape[2]), axis=0)) > 100
        found = measure(page, width)
        assert found["inner"] == width
        assert found["page"] <= width
        assert found["text"] >= 11  # of the line box: letters of about 10 px
        assert found["clipped"] == 0
    assert found["scrolling"] <= 1  # the table of all figures
    assert looks[360].mean() > 200  # light
    assert looks[1280].mean() < 60  # dark


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_the_browser_test_sees_a_script_that_is_refused(saved: Path) -> None:
    page = write_report(saved)
    page.write_text(page.read_text(encoding="utf-8").replace("</main>", "<script>1</script></main>"), encoding="utf-8")
    assert "Content Security Policy" in browse(page, 360, 800, "--dump-dom")[1]
