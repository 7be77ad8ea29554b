"""The page in a real browser: it asks the network for nothing, has no error, and fits a phone."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import everything
import pytest

from graph import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--remote-debugging-port=0")  # fmt: skip
FAULTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
UNBLURRED = """(() => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    const veil = document.querySelector(".veil"), shown = () => getComputedStyle(veil.firstElementChild).filter;
    const before = shown();
    veil.focus();
    return [before, shown()].join();
})()"""
MEASURED = """(() => {
    const box = document.querySelector("#what-was-measured .scroll");
    if (box.scrollWidth <= box.clientWidth) return "fits";
    const edges = getComputedStyle(box).backgroundAttachment;
    return edges.includes("local") && edges.includes("scroll") ? "scrolls, and shows that it does" : "is cut";
})()"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "BREAKFIX_NO_SKIP" not in os.environ, reason="no Chromium on this machine"
)


class Tab:
    """A tab of a browser, by the DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number, self.events = socket, 0, list[dict[str, Any]]()

    def call(self, method: str, **settings: Any) -> Any:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": settings}))
        while (got := json.loads(self.socket.recv(timeout=30))).get("id") != self.number:
            self.events.append(got)
        return got["result"]

    def asked(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression)["result"]["value"]

    def of(self, *methods: str) -> list[Any]:
        return [event["params"] for event in self.events if event.get("method") in methods]


@contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    client = pytest.importorskip("websockets.sync.client", reason="no websockets to drive a browser with")
    browser = subprocess.Popen([str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        port = profile / "DevToolsActivePort"
        for _ in range(300):
            if port.is_file() and port.read_text():
                break
            time.sleep(0.1)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        with urllib.request.urlopen(address) as found:
            page = next(one for one in json.load(found) if one["type"] == "page")
        with client.connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        browser.kill()
        browser.wait()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crew = everything.run(tmp_path_factory.mktemp("run"))
    report.write(crew)
    return crew.run / "report.html"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_asks_for_nothing_has_no_error_and_fits(width: int, theme: str, page: Path, tmp_path: Path) -> None:
    with tab(tmp_path) as shown:
        for domain in ("Page", "Network", "Log", "Runtime"):
            shown.call(f"{domain}.enable")
        shown.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        shown.call("Page.navigate", url=page.as_uri())
        while shown.asked("document.readyState") != "complete":
            time.sleep(0.05)
        assert shown.asked("document.documentElement.scrollWidth <= innerWidth")
        assert shown.asked(MEASURED) == ("fits" if width == 1280 else "scrolls, and shows that it does")
        assert shown.asked(UNBLURRED) == "blur(7px),none"
        assert shown.asked("document.documentElement.scrollWidth <= innerWidth")  # with all that can be unfolded
        dark = shown.asked("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        assert dark == (theme == "dark")
        shown.call("Runtime.evaluate", expression="1")
        assert [one["request"]["url"] for one in shown.of("Network.requestWillBeSent")] == [page.as_uri()]
        assert shown.of(*FAULTS) == []


def test_harmful_text_can_be_read_where_scripts_are_forbidden(page: Path, tmp_path: Path) -> None:
    with tab(tmp_path) as shown:
        shown.call("Page.enable")
        shown.call("Emulation.setScriptExecutionDisabled", value=True)
        shown.call("Page.navigate", url=page.as_uri())
        while shown.asked("document.readyState") != "complete":
            time.sleep(0.05)
        assert shown.asked(UNBLURRED) == "blur(7px),none"
