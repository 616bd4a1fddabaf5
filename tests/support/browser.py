"""A real browser that tests drive: Chromium, by its debugging protocol over a pipe.

    with Browser(tmp_path / "profile") as browser:
        tab = browser.open(page.as_uri(), width=390, dark=True)
        assert tab.evaluate("document.title") == "digits"
        assert tab.problems == [] and tab.requests == [page.as_uri()]
        tab.screenshot(tmp_path / "page.png")

It has no network: every host but this machine's loopback is unknown to it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import queue
import shutil
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--remote-debugging-pipe",
)
LIMIT_SECONDS: Final = 120.0
"""After so long without an answer the browser is taken for dead."""


def find_browser() -> str | None:
    """The path of a browser; None if there is none here."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running browser; it ends with the ``with`` block."""

    def __init__(self, profile: Path) -> None:
        """
        Args:
            profile: a folder that is not there yet.

        Raises:
            FileNotFoundError: there is no browser here.
        """
        path = find_browser()
        if path is None:
            raise FileNotFoundError(f"no browser here: none of {', '.join(NAMES)}")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Far from 3 and 4, which the browser reads and writes.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
        command = [path, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        nothing = os.open(os.devnull, os.O_RDWR)
        self._pid = os.posix_spawn(
            path,
            command,
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 1),
                (os.POSIX_SPAWN_DUP2, nothing, 2),
                (os.POSIX_SPAWN_DUP2, high[0], 3),
                (os.POSIX_SPAWN_DUP2, high[1], 4),
            ],
            setpgroup=0,
        )
        for fd in (theirs_in, theirs_out, *high, nothing):
            os.close(fd)
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it with all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._reader.join(10)
        with contextlib.suppress(OSError):
            os.close(self._out)
        with contextlib.suppress(OSError):
            os.close(self._in)

    def open(self, url: str, **settings: Any) -> Tab:
        """Open a page in a new tab, and wait until it is loaded; see ``Tab.show`` for settings."""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        answer = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        tab = self._tabs[answer["sessionId"]] = Tab(self, target, answer["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        tab.show(**settings)
        tab.go(url)
        return tab

    def send(
        self, method: str, params: dict[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        """Have the browser do something, and wait for its answer (RuntimeError if it refuses)."""
        number = next(self._numbers)
        answers = self._answers[number] = queue.SimpleQueue()
        message: dict[str, Any] = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        answer = answers.get(timeout=LIMIT_SECONDS)
        del self._answers[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> None:
        buffer = b""
        while True:
            try:
                more = os.read(self._in, 1 << 20)
            except OSError:
                return
            if not more:
                return
            *messages, buffer = (buffer + more).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    if message["id"] in self._answers:
                        self._answers[message["id"]].put(message)
                elif (tab := self._tabs.get(message.get("sessionId", ""))) is not None:
                    tab.hear(message["method"], message["params"])


class Tab:
    """A page in the browser.

    Attributes:
        problems: errors and warnings of the console, exceptions, dialogs, and windows that opened.
        requests: the address of everything that was asked for, the page itself first.
    """

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._browser, self._target, self._session = browser, target, session
        self._loaded = threading.Event()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """See ``Browser.send``."""
        return self._browser.send(method, params, self._session)

    def show(
        self,
        *,
        width: int = 1400,
        height: int = 900,
        dark: bool = False,
        media: str = "screen",
        mobile: bool = False,
    ) -> None:
        """Show the page so wide and high, in pixels, in a light or dark scheme.

        Args:
            media: "screen" or "print".
            mobile: as a phone does: with the page's own viewport, and two dots to a pixel.
        """
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def go(self, url: str) -> None:
        """Load a page, and wait until it has been (TimeoutError if that takes too long)."""
        self._loaded.clear()
        self.send("Page.navigate", url=url)
        if not self._loaded.wait(LIMIT_SECONDS):
            raise TimeoutError(f"{url} was not loaded")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited (RuntimeError if it throws)."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true (TimeoutError if it stays false)."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never was: {expression}")
            time.sleep(0.05)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, or of what is seen without scrolling."""
        taken = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            taken = self.send(
                "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
            )
        path.write_bytes(base64.b64decode(taken["data"]))

    def pdf(self, path: Path) -> None:
        """Write the page as it is printed on A4."""
        printed = self.send(
            "Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69
        )
        path.write_bytes(base64.b64decode(printed["data"]))

    def close(self) -> None:
        """Close the tab."""
        self._browser.send("Target.closeTarget", {"targetId": self._target})

    def hear(self, event: str, params: dict[str, Any]) -> None:
        """Note what happens in the page; called by the browser."""
        match event:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                said = details.get("exception", {}).get("description", details["text"])
                self.problems.append(f"exception: {said}")
            case "Runtime.consoleAPICalled":
                if params["type"] in ("error", "warning", "assert"):
                    said = " ".join(
                        str(a.get("value", a.get("description"))) for a in params["args"]
                    )
                    self.problems.append(f"{params['type']}: {said}")
            case "Log.entryAdded":
                if params["entry"]["level"] in ("error", "warning"):
                    self.problems.append(f"log: {params['entry']['text']}")
            case "Page.javascriptDialogOpening":
                self.problems.append(f"dialog: {params['message']}")
            case "Page.windowOpen":
                self.problems.append(f"window: {params['url']}")
