"""A Chromium for tests: where one is, and a small client of its DevTools protocol over a pipe."""

import importlib.util
import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def browser() -> str | None:
    """Find a Chromium on the path or in the cache of an installed Playwright."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if shutil.which(name):
            return shutil.which(name)
    playwright = importlib.util.find_spec("playwright")
    cached = Path.home().glob(".cache/ms-playwright/chromium*/chrome-*/*") if playwright else ()
    return next((str(path) for path in sorted(cached) if path.name in ("chrome", "headless_shell")), None)


class Tab:
    """A page that is open in a browser; messages holds what its console and its errors said."""

    def __init__(self, reads: int, writes: int) -> None:
        self._in, self._out = os.fdopen(reads, "rb"), os.fdopen(writes, "wb", buffering=0)
        self._number, self._session, self._rest, self.messages = 0, {}, b"", []
        [target] = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events that come meanwhile are looked through."""
        self._number += 1
        self._out.write(
            json.dumps({"id": self._number, "method": method, "params": params, **self._session}).encode() + b"\0"
        )
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.messages.append(json.dumps(answer["params"]))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in.fileno(), 1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page, past its policy, and return the value."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> Any:
        """Evaluate until the value is true (a node is not), and return it."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}; {self.messages}"
            time.sleep(0.03)
        return value

    def press(self, *keys: str) -> None:
        """Press keys: names such as Enter and Tab, or text to be typed."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38}
        for key in keys:
            if key not in codes:
                self.call("Input.insertText", text=key)
                continue
            text = {"text": "\r"} if key == "Enter" else {}
            for kind in ("keyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    code=key,
                    windowsVirtualKeyCode=codes[key],
                    **(text if kind == "keyDown" else {}),
                )

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to the input that a CSS selector names."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Lay the page out for a screen of this size, with dark or light preferred."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def picture(self, path: Path, whole: bool = False) -> None:
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))


@contextmanager
def opened(folder: Path, *options: str) -> Iterator[Tab]:
    """Start a headless browser with its profile in a folder, and end it."""
    (commands, to_browser), (from_browser, answers) = os.pipe(), os.pipe()
    process = subprocess.Popen(  # it takes commands from descriptor 3 and writes answers to 4
        [
            "bash",
            "-c",
            f'exec "$0" "$@" 3<&{commands} 4>&{answers} 2>/dev/null',
            browser(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'browser'}",
            *options,
            "about:blank",
        ],
        pass_fds=(commands, answers),
    )
    os.close(commands)
    os.close(answers)
    try:
        yield Tab(from_browser, to_browser)
    finally:
        process.terminate()
        process.wait(20)


def show(tab: Tab, url: str, state: str, width: int = 1280) -> Tab:
    """Open the served page in a state, in a tab of this width, and wait for its list."""
    tab.look(width)
    tab.open("about:blank")
    tab.messages.clear()
    tab.open(f"{url}/{state}")
    tab.wait("document.readyState === 'complete' && document.querySelectorAll('#titles > li').length")
    return tab
