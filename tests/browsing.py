"""A browser for people: one Chromium, in which each person has a window with cookies of their own."""

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from test_page import CHROMIUM, FLAGS, Tab

from graph.web.app import make
from graph.web.serve import bound

TOKEN = "a-token"
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}


class Person(Tab):
    """Somebody at a window."""

    site: str

    def open(self, path: str) -> None:
        self.call("Page.navigate", url=self.site + path)
        self.until("document.readyState === 'complete' && !!document.querySelector('main, pre')")

    def until(self, expression: str, seconds: float = 12) -> None:
        """Waits for something to be so."""
        end = time.monotonic() + seconds
        while not self.asked(f"!!({expression})"):
            assert time.monotonic() < end, f"never {expression}\n{self.text()}"
            time.sleep(0.02)

    def asked(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def text(self) -> str:
        return str(self.asked("document.body.innerText"))

    def press(self, key: str) -> None:
        code, text = KEYS.get(key, (0, key))
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Types over what stands in the field that has the focus."""
        self.asked("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def says(self, words: str) -> None:
        """Waits for some words on the page."""
        self.until(f"document.body.innerText.includes({json.dumps(words)})")

    def at(self, path: str) -> None:
        """Waits for an address."""
        self.until(f"location.pathname === {json.dumps(path)}")

    def click(self, selector: str) -> None:
        self.asked(f"document.querySelector({json.dumps(selector)}).click()")


class Browser:
    def __init__(self, profile: Path) -> None:
        self.client = pytest.importorskip("websockets.sync.client", reason="no websockets to drive a browser with")
        self.windows = ExitStack()
        self.process = subprocess.Popen([str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        port = profile / "DevToolsActivePort"
        while not (port.is_file() and port.read_text()):
            time.sleep(0.05)
        self.address = f"127.0.0.1:{port.read_text().split()[0]}"
        with urllib.request.urlopen(f"http://{self.address}/json/version") as found:
            self.root = Tab(self.window(json.load(found)["webSocketDebuggerUrl"]))

    def window(self, address: str) -> Any:
        return self.windows.enter_context(self.client.connect(address, max_size=None))

    def person(self, site: str, name: str = "", width: int = 1280, theme: str = "light") -> Person:
        """Somebody who has the address with the token, and has said their name."""
        context = self.root.call("Target.createBrowserContext")["browserContextId"]
        target = self.root.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        one = Person(self.window(f"ws://{self.address}/devtools/page/{target}"))
        one.site = site
        for domain in ("Page", "Network", "Log", "Runtime"):
            one.call(f"{domain}.enable")
        one.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        one.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        one.open(f"/?token={TOKEN}")
        if name:
            one.asked("document.querySelector('#who').focus()")
            one.type(name)
            one.press("Enter")
            one.says(f"You are {name}")
        return one

    def close(self) -> None:
        self.windows.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(places: Sequence[Path], resume: Callable[[Path], None]) -> Iterator[str]:
    """The console of some runs in a thread of this process, whose fakes it sees; yields its address."""
    listening = bound("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make(places, TOKEN, resume), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def missing(why: str) -> None:
    """Skips a test for what is not on this machine; on one that has to have it (`.ci/run`), the test fails."""
    if os.environ.get("BREAKFIX_NO_SKIP"):
        pytest.fail(why)
    pytest.skip(why)
