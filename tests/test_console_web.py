"""The console in a real browser: what people do there is what the run does, and nobody else gets in."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import test_editing
import test_loop
from benchmarks import console as benchmark
from browsing import TOKEN, Browser, Person, missing, serving
from starlette.testclient import TestClient
from test_editing import at_gate, rows_of
from test_loop import begin
from test_page import CHROMIUM, FAULTS

from agents import trainer, writer
from graph import editing, edits, gates
from graph.gates import Decision, Place
from graph.run import advance, locked
from graph.team import team
from graph.web import runs
from graph.web.app import make
from graph.web.search import Search
from tools.records import BASE, Adapter, Attempt, Example, Goal, StagePlan, Turn, Verdict
from tools.sandbox import world

run, taught = test_loop.run, test_editing.taught
ROOT = Path(__file__).parent.parent
HOSTILE = "No <script>document.title='taken'</script><img src=x onerror=alert(1)> \x1b[2J \u202egnp.exe\u2066 {{ 7*7 }}"
PROCESS = """
import sys
from pathlib import Path
import test_loop
from graph import candidates
from graph.cli import main
from graph.team import Team
Team.target = lambda self, adapter: test_loop.Town(adapter=adapter)
Team.base = Path(sys.argv[1]).parent.parent
candidates.stages.run_stage = test_loop.trained
sys.exit(main(["resume", sys.argv[1]]))
"""
"""`breakfix resume` on the fakes of the whole loop."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        missing("no Chromium on this machine")
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture
def went() -> list[Path]:
    """The runs that the console went on with."""
    return []


@pytest.fixture
def site(run: Path, went: list[Path]) -> Iterator[str]:
    with serving([run.parent], went.append) as address:
        yield address


def opened(one: Person, key: str, text: str) -> None:
    """Opens a form by its key, and types into its field."""
    one.press(key)
    one.until("document.activeElement.matches('input, textarea')")
    one.type(text)


def at_item(one: Person, path: str = "/run/one/gate") -> str:
    """Goes to the first item of a list, and says its id."""
    one.open(path)
    one.press("n")
    one.until("location.pathname.includes('/item/')")
    return str(one.asked("location.pathname.split('/').pop()"))


def moved(one: Person, name: str) -> None:
    one.until(f"location.pathname.includes('/item/') && !location.pathname.endsWith('/{name}')")


def decided(one: Person, key: str, why: str) -> None:
    """Decides at a gate, with the keyboard alone."""
    one.open("/run/one/gate")
    opened(one, key, why)
    one.press("Enter")
    one.at("/run/one")


def test_what_is_changed_in_the_browser_is_trained_on(
    run: Path, site: str, browser: Browser, went: list[Path], taught: list[tuple[StagePlan, list[Example]]]
) -> None:
    crew, _ = at_gate(run, "data", "stop.cycles=1", "agents.judge.dials={error=0.2, seed=1}")
    ana = browser.person(site, "Ana")
    first = at_item(ana)
    opened(ana, "e", "No, and that is all.")
    ana.press("Tab")
    ana.press("Enter")
    moved(ana, first)
    ana.says("done, change")
    [made] = edits.live(crew)
    assert ana.asked("location.pathname").endswith(made.made)
    ana.says("[-")  # word by word
    gone = at_item(ana, "/run/one/gate?kind=help&language=en")
    ana.press("d")
    moved(ana, gone)
    ana.press("+")
    for name, text in (
        ("language", "en"),
        ("asked", "Say the thing."),
        ("chosen", "No, not that."),
        ("rejected", "Sure: the thing."),
    ):
        ana.asked(f"document.querySelector('form:has([value=add]) [name={name}]').focus()")
        ana.type(text)
    ana.press("Tab")
    ana.press("Enter")
    ana.says("human:Ana")
    missed = at_item(ana, "/run/one/gate?kind=attack")
    ana.press("h")
    ana.says("Changed by Ana")
    decided(ana, "a", "fine")
    ana.says("Ana approved at the data gate: fine.")
    assert went == [run]
    assert advance(run).gate["look"] == 1  # the rows for the attack that Ana calls harmful
    decided(ana, "a", "")
    assert advance(run).state == "finished"
    said = {row.id: row.chosen for row in taught[0][1]}
    own = crew.memory.get(Example, "writer = 'human:Ana'")
    assert {said[row.id] for row in own} == {"No, and that is all.", "No, not that."}
    assert not {first, gone} & said.keys()
    assert missed in {row.attempt for row in taught[0][1]}
    kept = crew.memory.events("edit")
    assert {one["who"] for one in kept} == {"Ana"}
    assert [one["change"]["what"] for one in kept] == ["rewrite", "drop", "add", "judge"]
    assert (kept[0]["before"], kept[0]["after"]) == (crew.memory.get(Example, "id = ?", first)[0].chosen, made.after)
    assert all(time.time() - 300 < one["at"] < time.time() for one in kept)


def test_a_change_is_undone_by_a_key_and_a_wrong_one_is_refused_with_what_was_typed(
    run: Path, site: str, browser: Browser
) -> None:
    crew, _ = at_gate(run, "data")
    ana = browser.person(site, "Ana")
    name = at_item(ana)
    ana.press("d")
    moved(ana, name)
    ana.press("u")
    ana.at(f"/run/one/item/{name}")
    assert edits.live(crew) == []
    opened(ana, "e", "No, eso no lo puedo hacer, porque es malo")
    ana.click("[name=chosen] ~ button, form:has([value=rewrite]) button")
    ana.says("in another language")
    assert "eso no" in ana.asked("document.querySelector('[name=chosen]').value")
    ana.press("Escape")
    opened(ana, "i", "no such area")
    ana.press("Enter")
    ana.says("no cell of this run")
    assert edits.live(crew) == []


def test_the_reason_of_a_no_reaches_the_next_prompt(
    run: Path, site: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(run, "gates=['data','train']", "stop.cycles=1")
    heard = list[str]()
    for who in (writer, trainer):

        async def asked(model: Any, system: str, user: str, *rest: Any, ask: Any = who.ask, **more: Any) -> Any:
            heard.append(user)
            return await ask(model, system, user, *rest, **more)

        monkeypatch.setattr(who, "ask", asked)
    ana = browser.person(site, "Ana")
    decided(ana, "r", "warmer, and shorter")
    now = advance(run)
    assert (now.gate["gate"], now.gate["round"]) == ("data", 1)
    assert heard
    assert all("warmer, and shorter" in one for one in heard)
    decided(ana, "a", "")
    advance(run)
    heard.clear()
    decided(ana, "r", "fewer epochs")
    now = advance(run)
    assert (now.gate["gate"], now.gate["round"]) == ("train", 1)
    assert any("fewer epochs" in one for one in heard)


def test_a_stage_is_run_with_the_numbers_given_in_the_browser(
    run: Path, site: str, browser: Browser, taught: list[tuple[StagePlan, list[Example]]]
) -> None:
    at_gate(run, "train", "stop.cycles=1")
    ana = browser.person(site, "Ana")
    at_item(ana)
    opened(ana, "c", "12")
    ana.press("Enter")
    ana.says("not within the recipe's")
    ana.type("2.5")
    ana.press("Enter")
    ana.says("changed here")
    decided(ana, "a", "")
    assert advance(run).state == "finished"
    assert taught[0][0].epochs == 2.5


@pytest.mark.parametrize(("key", "champion"), [("a", True), ("r", False)])
def test_a_promotion_is_approved_or_rejected(run: Path, site: str, browser: Browser, key: str, champion: bool) -> None:
    begin(run, "gates=['promote']", "stop.cycles=1")
    ana = browser.person(site, "Ana")
    decided(ana, key, "so I think")
    now = advance(run)
    assert (now.state, now.values["champion"] != BASE) == ("finished", champion)
    [choice] = team(str(run)).memory.events("choice")
    assert ("rejected by a person: so I think" in choice["why"]) != champion


def test_a_run_that_would_end_goes_on_or_ends_and_is_ended_anywhere(run: Path, site: str, browser: Browser) -> None:
    begin(run, "gates=['stop','data']", "stop.cycles=1")
    ana = browser.person(site, "Ana")
    decided(ana, "a", "")
    assert advance(run).gate["gate"] == "stop"
    decided(ana, "r", "one more")
    assert advance(run).gate["gate"] == "data"
    decided(ana, "x", "enough")
    now = advance(run)
    assert (now.state, now.values["stopped"]) == ("finished", "ended at the data gate by Ana: enough")
    ana.open("/run/one")
    ana.says("It has ended: ended at the data gate by Ana: enough.")
    assert team(str(run)).memory.ids(Adapter, "cycle = 1")


def test_cells_are_pinned_and_banned_and_ones_own_attack_is_kept(run: Path, site: str, browser: Browser) -> None:
    crew, _ = at_gate(run, "data")
    ana = browser.person(site, "Ana")
    name = at_item(ana)
    ana.press("i")
    ana.press("Enter")
    ana.says("done, change")
    goal = next(goal for goal in world.goals(7, 40, 0, 0) if (goal.intent, goal.split) == ("harmful", "train"))
    ana.asked(f"document.querySelector('form:has([value=ask]) [name=area]').value = {goal.area!r}")
    opened(ana, "w", goal.text)
    ana.click("form:has([value=ask]) button")
    ana.says("2 changes")
    pinned, asked = edits.live(crew)
    attempt = crew.memory.get(Example, "id = ?", name)[0].attempt
    [cell] = crew.memory.labels(list(crew.labels_by), "attempts.id = ?", attempt)
    assert (pinned.change.area, pinned.change.strategy) == (cell["area"], cell["strategy"])
    assert crew.memory.get(Goal, "id = ?", asked.made)[0].source == "human:Ana"


def test_two_people_see_each_others_changes_and_the_second_to_decide_is_told(
    run: Path, site: str, browser: Browser, went: list[Path]
) -> None:
    crew, _ = at_gate(run, "data")
    ana, ben = browser.person(site, "Ana"), browser.person(site, "Ben")
    name = at_item(ana)
    assert at_item(ben) == name
    opened(ana, "e", "No from Ana.")
    ana.click("form:has([value=rewrite]) button")
    moved(ana, name)
    ben.says("No from Ana.")  # without having asked for anything
    ben.says("Changed by Ana")
    ben.press("d")
    moved(ben, name)
    ana.says("Ben has dropped this row")
    at_item(ben)
    opened(ben, "r", "Ben thinks otherwise")
    decided(ana, "a", "fine")
    ben.press("Enter")
    ben.says("Ana was first")
    assert ben.asked("document.activeElement.value") == "Ben thinks otherwise"
    ben.press("Escape")
    ben.press("d")
    ben.says("Ana approved this in the meantime")
    assert [(one["who"], one["approved"]) for one in crew.memory.events("gate")] == [("Ana", True)]
    assert [one.who for one in edits.live(crew)] == ["Ana", "Ben"]
    assert went == [run]


def test_an_open_page_follows_a_run_that_is_killed_and_goes_on(
    run: Path, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    begin(run, "gates=['data','stop']", "stop.cycles=1")
    processes = list[subprocess.Popen[bytes]]()

    def resume(folder: Path) -> None:
        path = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
        with (folder / runs.LOG).open("ab") as log:
            processes.append(subprocess.Popen([sys.executable, "-c", PROCESS, str(folder)], env=path, stderr=log,
                                              stdout=log))  # fmt: skip

    with serving([run.parent], resume) as site:
        ana = browser.person(site, "Ana")
        decided(ana, "a", "")
        ana.until("document.querySelector('#state').innerText.includes('Process')", 60)
        processes[0].kill()
        processes[0].wait()
        ana.until("document.querySelector('#next button')", 60)
        ana.click("#next button")
        ana.until("document.querySelector('#state').innerText.includes('waits at the stop gate')", 90)
        ana.press("n")
        ana.at("/run/one/gate")
        decided(ana, "a", "")
        ana.until("document.querySelector('#state').innerText.includes('It has ended')", 90)
        assert not ana.of("Runtime.exceptionThrown")
    told = team(str(run)).memory.events("gate")
    assert [(one["gate"], one["who"]) for one in told] == [("data", "Ana"), ("stop", "Ana")]
    assert len(processes) == 3


def test_what_the_target_says_is_text_and_what_hides_is_written_out(run: Path, site: str, browser: Browser) -> None:
    crew, _ = at_gate(run, "data")
    [row, *_] = rows_of(crew, "refuse")
    editing.edit(crew, Place("data", 1, 0), HOSTILE[:30], {"what": "rewrite", "row": row.id, "chosen": HOSTILE})
    attempt = crew.memory.get(Attempt, "id = ?", row.attempt)[0]
    evil = attempt.model_copy(update={"seed": 99, "turns": (Turn(role="user", text=HOSTILE),), "note": HOSTILE})
    crew.memory.add([evil, Verdict(attempt=evil.id, judge="j", harmful=True, refusal=None, understood=True,
                                   reason=HOSTILE)])  # fmt: skip
    ana = browser.person(site, "Ana")
    for path in ("/run/one/gate", f"/run/one/item/{edits.live(crew)[0].made}", f"/run/one/attack/{evil.id}"):
        ana.open(path)
        assert "taken" not in ana.asked("document.title")
        assert ana.asked("document.querySelectorAll('main script, main img').length") == 0
        assert "<script>" in ana.asked("document.querySelector('main').textContent")
        assert "{{ 7*7 }}" in ana.asked("document.querySelector('main').textContent") or path.endswith("gate")
        assert not ana.asked("/[\\u0000-\\u0008\\u001b\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerHTML)")
        assert not ana.of(*FAULTS)
    ana.open(f"/run/one/item/{edits.live(crew)[0].made}")
    opened(ana, "e", "x")
    ana.asked("document.activeElement.value = document.activeElement.defaultValue.replace('No ', 'Nope ')")
    ana.click("form:has([value=rewrite]) button")
    ana.says("2 changes")
    assert edits.live(crew)[-1].after == HOSTILE.replace("No ", "Nope ")  # written out to be seen, and kept as it is


def test_harmful_text_is_blurred_and_silent_until_it_is_asked_for(run: Path, site: str, browser: Browser) -> None:
    at_gate(run, "data")
    ana = browser.person(site, "Ana")
    at_item(ana, "/run/one/gate?kind=refuse")
    shown = (
        "[getComputedStyle(document.querySelector('.veil pre')).filter, document.querySelector('.veil pre').ariaHidden]"
    )
    assert ana.asked(f"{shown}.join()") == "blur(7px),true"
    ana.press("s")
    ana.until(f"{shown}.join() === 'none,false'")
    ana.press("s")
    ana.click(".unveil")
    ana.until(f"{shown}.join() === 'none,false'")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_axe_or_is_wider_than_a_phone(
    run: Path, site: str, browser: Browser, theme: str
) -> None:
    crew, _ = at_gate(run, "data", "agents.judge.dials={error=0.2, seed=1}")
    [row, other, *_] = rows_of(crew, "refuse")
    made = editing.edit(crew, Place("data", 1, 0), "Ben", {"what": "rewrite", "row": row.id, "chosen": "No, and no."})
    ana = browser.person(site, "Ana", 390, theme)
    pages = ["/", "/run/one", "/run/one/gate", f"/run/one/item/{made.made}", f"/run/one/item/{other.id}", "/name",
             "/run/one/attacks", f"/run/one/attack/{row.attempt}", "/run/one/report", "/run/none",
             "/run/one/gate?kind=attack"]  # fmt: skip
    for path in pages:
        ana.open(path)
        ana.asked("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert ana.asked("document.documentElement.scrollWidth <= innerWidth"), path
        assert broken(ana) == [], path


def broken(one: Person) -> list[str]:
    """The rules that axe-core finds broken on a page."""
    package = find_spec("axe_playwright_python")
    if package is None or not package.submodule_search_locations:
        missing("no axe-core: pip install --no-deps axe-playwright-python")
    one.asked((Path(package.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    found = one.asked("axe.run().then((all) => all.violations.map((v) => v.id + ' ' + v.nodes.map((n) => n.html)))")
    assert found is not None
    return list(found)


def test_all_can_be_reached_by_tab_and_the_first_stop_skips_to_the_content(
    run: Path, site: str, browser: Browser
) -> None:
    at_gate(run, "data")
    ana = browser.person(site, "Ana")
    at_item(ana)
    ana.open(ana.asked("location.pathname"))
    ana.press("Tab")
    assert ana.asked("document.activeElement.className") == "skip"
    assert ana.asked("document.activeElement.getBoundingClientRect().left >= 0")
    ana.press("Enter")
    ana.until("location.hash === '#main' && document.activeElement === document.querySelector('main')")
    ana.press("Tab")
    ana.until("document.activeElement.matches('main a[rel=prev]')")
    assert ana.asked("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_place_on_the_page_that_was_gone_to_is_stayed_at_while_the_page_looks_for_news(
    run: Path, site: str, browser: Browser
) -> None:
    at_gate(run, "data")
    ana = browser.person(site, "Ana")
    ana.open("/run/one/gate")
    ana.click("a[href='#decide']")
    ana.until("location.hash === '#decide' && scrollY > 500")
    ana.asked("document.querySelector('#waits').dataset.marked = 'yes'")
    ana.asked("new Promise((done) => setTimeout(done, 5000))")
    assert ana.asked("location.hash === '#decide' && scrollY > 500")
    assert ana.asked("document.querySelector('#waits').dataset.marked") == "yes"
    assert "changed meanwhile" not in ana.text()


def client(run: Path, went: list[Path] | None = None) -> TestClient:
    return TestClient(make([run], TOKEN, (went if went is not None else []).append), base_url="http://127.0.0.1:8421",
                      follow_redirects=False)  # fmt: skip


def test_without_the_token_no_route_answers(run: Path) -> None:
    at_gate(run, "data")
    nobody = client(run)
    routes = [(method, route.path) for route in nobody.app.routes for method in route.methods]  # type: ignore[attr-defined]
    assert len(routes) > 12
    for method, path in [*routes, ("GET", "/nothing"), ("GET", "/console.js"), ("GET", "/?token=wrong")]:
        answer = nobody.request(method, path.replace("{run}", "one").replace("{name}", "console"))
        assert answer.status_code == 401, path
    entered = nobody.get(f"/run/one?token={TOKEN}&q=x")
    assert (entered.status_code, entered.headers["location"]) == (303, "/run/one?q=x")
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=strict" in entered.headers["set-cookie"]
    assert nobody.get("/run/one").status_code == 200


def test_what_comes_from_elsewhere_is_refused(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    went: list[Path] = []
    ana = client(run, went)
    ana.get(f"/?token={TOKEN}")
    page = ana.get("/run/one").text
    form = page.split('name="form" value="')[1].split('"')[0]
    ana.cookies.set("breakfix-who", "Ana")
    yes = {"form": form, "says": "approve", "place": "data.1.0.0"}
    own = {"origin": "http://127.0.0.1:8421", "sec-fetch-site": "same-origin"}
    refused: list[tuple[int, dict[str, str], dict[str, str]]] = [
        (403, {}, yes),
        (403, {"origin": "http://evil.example"}, yes),
        (403, {"origin": "null"}, yes),
        (403, {"origin": "http://127.0.0.1:8422"}, yes),
        (403, {"origin": "null", "sec-fetch-site": "cross-site"}, yes),
        (403, {**own, "sec-fetch-site": "same-site"}, yes),
        (400, {**own, "host": "evil.example:8421"}, yes),
        (403, own, {**yes, "form": "guessed"}),
        (403, own, {"says": "approve", "place": "data.1.0.0"}),
        (422, own, {**yes, "says": "perhaps"}),
        (422, own, {**yes, "place": "data.1.5.0"}),
        (422, own, {**yes, "place": "../etc"}),
        (422, own, {**yes, "place": "data.1.²." + "9" * 99}),
        (400, {**own, "host": "127.0.0.1:port"}, yes),
    ]  # fmt: skip
    for status, headers, told in refused:
        assert ana.post("/run/one/decide", data=told, headers=headers).status_code == status, (headers, told)
    assert not crew.memory.events("gate")
    assert went == []
    assert ana.post("/run/one/decide", data=yes, headers=own).status_code == 303
    again = ana.post("/run/one/decide", data=yes, headers=own)
    assert again.status_code == 409
    assert "Ana was first" in again.text
    assert (len(crew.memory.events("gate")), went) == (1, [run])


def test_every_answer_is_kept_to_itself_and_only_the_given_runs_are_there(run: Path) -> None:
    at_gate(run, "data")
    (run.parent / "two").mkdir()
    (run.parent / "two" / "recipe.toml").write_text((run / "recipe.toml").read_text())
    ana = client(run)
    for path in ("/", f"/?token={TOKEN}", "/", "/run/one", "/run/one/gate", "/console.js", "/run/two"):
        headers = ana.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert headers["cache-control"] == "no-store"
    for path in ("/run/two", "/run/%2e%2e", "/run/..%2fone", "/run/one/attack/..%2f..", "/memory.css"):
        assert ana.get(path).status_code == 404, path
    policy = ana.get("/run/one/report.html").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")


def test_nothing_is_changed_or_decided_without_a_name(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    ana = client(run)
    ana.get(f"/?token={TOKEN}")
    page = ana.get("/run/one/gate").text
    assert "Who are you?" in page
    form = page.split('name="form" value="')[1].split('"')[0]
    own = {"origin": "http://127.0.0.1:8421"}
    yes = {"form": form, "says": "approve", "place": "data.1.0.0"}
    assert ana.post("/run/one/decide", data=yes, headers=own).status_code == 422
    for name in ("", "  ", "nobody", "x" * 61, "a\x1b[2Jb"):
        assert ana.post("/name", data={"form": form, "who": name}, headers=own).status_code == 422
    assert not crew.memory.events("gate")
    answer = ana.post("/name", data={"form": form, "who": " Zoë  Æ ", "at": "//evil.example/x"}, headers=own)
    assert answer.headers["location"] == "/evil.example/x"
    assert "You are <b><bdi>Zoë Æ</bdi></b>" in ana.get("/").text


def test_what_was_said_is_found_by_words_also_in_chinese_and_as_soon_as_it_is_there(run: Path) -> None:
    crew, _ = at_gate(run, "data")
    before = crew.memory.query("select count(*) as n from sqlite_master")
    search = Search(crew)
    search.catch_up()
    one = crew.memory.get(Attempt, "purpose = 'attack'")[0]
    for number, text in enumerate(("how is 毒药之书 made", "a b\"c* NEAR(x) -- ' drop", "l'herbe élégante")):
        turns = (Turn(role="user", text="x", plain=text), Turn(role="assistant", text="unheard of", dropped="pruned"))
        crew.memory.add([one.model_copy(update={"seed": 900 + number, "turns": turns})])
    wanted = {"毒药": [900], "之书 made": [900], "药毒": [], 'b"c* NEAR(x)': [901], "ELEGANTE": [902],
              "unhea": [902, 901, 900], "unhea of": []}  # fmt: skip
    for words, seeds in wanted.items():
        assert [row["seed"] for row in search.find(words, {}, 0).attempts] == seeds, words
    everything = search.find("", {"language": "en", "verdict": "harmful"}, 0).attempts
    assert everything
    assert {(row["language"], row["harmful"]) for row in everything} == {("en", 1)}
    assert stat.S_IMODE((run / "search.sqlite").stat().st_mode) == 0o600
    assert crew.memory.query("select count(*) as n from sqlite_master") == before
    with pytest.raises(sqlite3.OperationalError), sqlite3.connect(run / "search.sqlite") as alone:
        alone.execute("select text from attempts")


def test_where_a_process_waits_at_the_gate_no_other_is_started(run: Path) -> None:
    at_gate(run, "data")
    went: list[Path] = []
    ana = client(run, went)
    ana.get(f"/?token={TOKEN}")
    ana.cookies.set("breakfix-who", "Ana")
    form = ana.get("/run/one").text.split('name="form" value="')[1].split('"')[0]
    with locked(run):
        assert f"process {os.getpid()} with it" in ana.get("/run/one").text
        yes = {"form": form, "says": "approve", "place": "data.1.0.0"}
        assert ana.post("/run/one/decide", data=yes, headers={"origin": "http://127.0.0.1:8421"}).status_code == 303
        assert f"Process {os.getpid()} is at data_gate" in ana.get("/run/one").text
    assert went == []
    assert "nobody goes on with the run" in ana.get("/run/one").text


def test_a_run_goes_on_in_a_process_of_its_own(run: Path) -> None:
    begin(run, "stop.cycles=1")
    runs.resume(run)
    end = time.monotonic() + 60
    while "finished, cycle" not in (run / runs.LOG).read_text() and time.monotonic() < end:
        time.sleep(0.1)
    assert time.monotonic() < end
    assert "report.html" in runs.output(run)
    assert runs.running(run) == ""


def test_the_command_prints_an_address_and_says_what_it_exposes(run: Path) -> None:
    at_gate(run, "data")
    command = [sys.executable, "-m", "graph.cli", "console"]
    one = subprocess.Popen([*command, str(run.parent), "--port", "0", "--host", "0.0.0.0"],  # noqa: S104
                           cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert one.stdout is not None
    address = one.stdout.readline().strip().replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address) as page:
        assert b"The data gate waits for you" in page.read()
    port = address.split(":")[2].split("/")[0]
    taken = subprocess.run([*command, str(run), "--port", port], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (taken.returncode, "give --port 0 for a free one" in taken.stderr) == (2, True)
    none = subprocess.run([*command, str(run / "adapters")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (none.returncode, "is no run and holds none" in none.stderr) == (2, True)
    one.send_signal(signal.SIGINT)
    told = one.communicate(timeout=30)[1]
    assert one.returncode == 0
    assert "warning: with --host 0.0.0.0 other machines reach it, and without encryption" in told


def test_pages_searches_and_items_come_while_one_waits_for_them(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = benchmark.begun(tmp_path, monkeypatch, 2_000, 500)
    with serving([run], lambda _: None) as site:
        found = benchmark.seen_by(browser.person(site, "Ana"), 5)
    for name, limit in (("first page of the gate", 300), ("search of the gate", 200), ("search of all attempts", 200),
                        ("next item", 100)):  # fmt: skip
        assert min(found[name]) < limit, name


def test_a_decision_made_elsewhere_is_shown_and_nothing_can_be_changed_any_more(
    run: Path, site: str, browser: Browser
) -> None:
    crew, _ = at_gate(run, "data")
    ana = browser.person(site, "Ana")
    ana.open("/run/one/gate")
    gates.decide(crew.memory, Place("data", 1, 0), Decision(approved=False, why="too short", who="Ben"))
    ana.at("/run/one")  # by itself
    ana.says("Ben rejected at the data gate: too short.")
    ana.says("nobody goes on with the run")
