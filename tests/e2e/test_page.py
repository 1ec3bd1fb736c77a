"""The page in a real browser on a real proxy: every view, both schemes, a wide window and a phone."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from exacto_plugin.demo.behaviour import BAD_CALLS, Act
from exacto_plugin.web.page import FRAMED_POLICY
from tests.support.proxy.observation import api, eventually
from tests.support.proxy.openai_client import ask, config, prices
from tests.support.proxy.plugin_frame import framed
from tests.support.proxy.proxy import MASTER_KEY, Proxy, deployment
from tests.support.proxy.tier_setup import DERANKED, QUICK, seen_tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

CHROMIUM = shutil.which("chromium")
AXE = Path(sys.prefix) / "oracle" / "node_modules" / "axe-core" / "axe.min.js"
GROUP, OTHER = "moonshotai/kimi", "other"
HOSTILE = '<img src=x onerror="window.hit=1">\'&{{7*7}}</script>'
NAMES = ("kimi-1", "kimi-2", "kimi-3", "kimi-bad")
BAD = NAMES[-1]
ROOT = "/below/here"
KEY_OF_OTHER = "sk-may-call-other"
CALLS = 12

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed (make venv installs it)"),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (make venv installs it, with npm)"),
]


@pytest.fixture(scope="module")
def proxy(
    provider_server: SimulatedProviders, start_proxy: StartProxy, tmp_path_factory: pytest.TempPathFactory
) -> Proxy:
    """A proxy below a path, with verdicts: one deployment breaks most of its calls, and one has a hostile name."""
    control = provider_server.control
    control.reset()
    entries = [deployment(provider_server, name, GROUP, **prices(1, 2)) for name in NAMES]
    entries.append(deployment(provider_server, "other-1", OTHER))
    entries.append(deployment(provider_server, "hostile", HOSTILE, info={"id": HOSTILE, "provider": HOSTILE}))
    settings = config(
        entries,
        router={"disable_cooldowns": True},
        tiers=QUICK,
        store={"url": f"sqlite:///{tmp_path_factory.mktemp('page')}/records.sqlite", "decision_share": 1.0},
        web={"access": "keys"},
    )
    plugin = {"name": "exacto", "display_name": "Tool-call quality", "url": f"https://proxy.example{ROOT}/exacto"}
    proxy = start_proxy(
        {**settings, "general_settings": {"plugins": [plugin]}},
        keys={KEY_OF_OTHER: {"models": [OTHER]}},
        environment={"SERVER_ROOT_PATH": ROOT, "LITELLM_SALT_KEY": "sk-salt-of-the-tests"},
    )
    mix = {Act.SCHEMA_MISMATCH: 2.0, Act.INVALID_JSON: 1.0, Act.UNKNOWN_NAME: 1.0}
    control.behave(BAD, error_rate=0.8, error_mix=mix, seed=4)
    asked = [*(name for name in NAMES for _ in range(CALLS)), *["other-1"] * 4, *[HOSTILE] * 4, *[GROUP] * 10]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: ask(proxy, name), asked))
    eventually(lambda: seen_tiers(proxy, GROUP).get(BAD), DERANKED)
    wanted = sum(sum(control.acts(name).values()) for name in NAMES)
    eventually(lambda: _answers_on_record(proxy), wanted)
    eventually(lambda: [one["deployment"] for one in api(proxy, "incidents").json()["incidents"]], [BAD])
    return proxy


def _answers_on_record(proxy: Proxy) -> float:
    hours = api(proxy, f"series?model_group={quote(GROUP)}").json()["hours"]["deployments"]
    return sum(sum(counts["answers"]) for counts in hours.values())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """One tab, signed in; keeps what went wrong in it."""

    def __init__(self, browser: Browser, proxy: Proxy, key: str = MASTER_KEY, **options: Any) -> None:
        # Without transitions: in the midst of one a colour is neither of both schemes.
        self.page: Page = browser.new_page(reduced_motion="reduce", **options)
        self.faults: list[str] = []
        self.page.on(
            "console", lambda told: self.faults.append(told.text) if told.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "request", lambda asked: None if asked.url.startswith(proxy.base_url) else self._outside(asked.url)
        )
        self.page.goto(f"{proxy.base_url}{ROOT}/exacto")
        self.page.fill("#secret", key)
        self.page.click("#key button")

    def _outside(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.faults.append(f"asked {url}")

    def until(self, holds: str, argument: object = None) -> None:
        """Wait until an expression of JavaScript holds.

        Playwright's own waiting evaluates text inside the page once more, which the page's policy forbids.
        """
        eventually(lambda: self.page.evaluate(holds, argument), True)

    def show(self, view: str, title: str) -> str:
        """Open a view and wait for its title; returns its text."""
        self.page.wait_for_selector("#view h1")
        self.page.evaluate("view => { location.hash = view }", view)
        self.until("title => document.querySelector('#view h1')?.textContent === title", title)
        text: str = self.page.inner_text("#view")
        return text


def views(proxy: Proxy) -> dict[str, str]:
    """Every view that has data, and the title that it must have."""
    incident = api(proxy, "incidents").json()["incidents"][0]["id"]
    (hostile,) = seen_tiers(proxy, HOSTILE)
    request = ask(proxy, GROUP).headers["x-exacto-decision"]
    eventually(lambda: api(proxy, f"decisions/{request}").status_code, 200)
    return {
        "overview?range=24h": "Overview",
        "incidents": "Incidents",
        f"incident?id={incident}": f"Incident of {BAD}",
        f"group?name={quote(GROUP, safe='')}&range=1h": GROUP,
        f"group?name={quote(HOSTILE, safe='')}&range=30d": HOSTILE,
        f"deployment?group={quote(GROUP, safe='')}&name={BAD}": BAD,
        f"deployment?group={quote(HOSTILE, safe='')}&name={quote(hostile, safe='')}": hostile,
        f"request?id={request}": f"Request {request}",
        "request": "Request",
        "group?name=nothing": "Group",
    }


def barriers_of(page: Page) -> list[Any]:
    """What axe-core finds."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[Any] = page.evaluate("async () => (await axe.run()).violations.map(one => [one.id, one.nodes[0].html])")
    return found


def test_every_view(browser: Browser, proxy: Proxy) -> None:
    """In both schemes, in a wide window and on a phone: no fault, no barrier, nothing elsewhere and nothing cut off.

    Charts have words and a table. Barriers are looked for in the wide light and the narrow dark page.
    """
    visit = Visit(browser, proxy)
    page = visit.page
    for view, title in views(proxy).items():
        visit.show(view, title)
        for scheme, width in (("dark", 1280), ("light", 1280), ("light", 390), ("dark", 390)):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            # Charts are drawn again once the window has told its new size.
            visit.until("width => innerWidth === width", width)
            visit.until("document.documentElement.scrollWidth <= innerWidth")
            if (scheme, width) in (("light", 1280), ("dark", 390)):
                assert barriers_of(page) == [], (view, scheme)
        charts = page.evaluate(
            "[...document.querySelectorAll('.plot')].map(one => [one.getAttribute('aria-label').length > 40, "
            "!!one.querySelector('canvas'), one.closest('figure').querySelectorAll('tbody tr').length > 0])"
        )
        assert all(all(chart) for chart in charts), view
        assert charts or not view.startswith(("incident?", "deployment", "group?name=moonshotai")), view
        assert page.evaluate("window.hit ?? document.querySelectorAll('#view img').length") == 0
    assert visit.faults == []
    page.close()


def test_the_numbers_are_those_of_the_providers(
    browser: Browser, proxy: Proxy, provider_server: SimulatedProviders
) -> None:
    """Answers and bad answers, whole and by kind, equal what the simulated providers did."""
    visit = Visit(browser, proxy)
    for name in NAMES:
        acts = provider_server.control.acts(name)
        answers, bad = sum(acts.values()), sum(acts.get(kind, 0) for kind in BAD_CALLS)
        text = visit.show(f"deployment?group={quote(GROUP, safe='')}&name={name}", name)
        wanted = (
            f"{bad} of {answers} answers with tools were bad"
            if bad
            else f"None of {answers} answers with tools was bad"
        )
        assert wanted in text
        words = {
            "schema_mismatch": "against the schema",
            "invalid_json": "not JSON",
            "unknown_name": "unknown tool names",
        }
        for kind, word in words.items():
            if acts.get(kind):
                assert any(f"{acts[kind]} with " in part and word in part for part in text.split(", ")), kind
    acts = provider_server.control.acts(BAD)
    bad = sum(acts.get(kind, 0) for kind in BAD_CALLS)
    (incident,) = api(proxy, "incidents").json()["incidents"]
    calls = bad + acts.get(Act.VALID, 0)
    assert (incident["bad"], incident["calls"], incident["answers"]) == (bad, calls, sum(acts.values()))
    assert incident["kinds"] == {kind: acts[kind] for kind in BAD_CALLS if acts.get(kind)}
    assert incident["change"]["calls"] <= calls
    row = visit.show("incidents", "Incidents")
    assert f"{bad}\t" in row or f"\n{bad}\n" in row
    text = visit.show("overview?range=24h", "Overview")
    everyone = sum(sum(provider_server.control.acts(name).values()) for name in NAMES)
    assert f"{bad} of {everyone}" in text
    assert BAD in text.split("Model groups, last")[0]
    visit.page.close()


def test_why_at_a_clicked_time_and_by_keyboard(browser: Browser, proxy: Proxy) -> None:
    """A click into the chart asks for its time, and so does the form."""
    visit = Visit(browser, proxy)
    visit.show(f"deployment?group={quote(GROUP, safe='')}&name={BAD}&range=1h", BAD)
    over = visit.page.locator(".u-over").first
    box = over.bounding_box()
    assert box is not None
    over.click(position={"x": box["width"] - 1, "y": 20})
    visit.until("document.querySelector('#why')?.textContent.includes('At 20')")
    visit.page.fill("#then-at", "2020-01-01T00:00")
    visit.page.keyboard.press("Enter")
    visit.until("document.querySelector('#why')?.textContent.includes('Nothing is on record')")
    assert "The first record is of" in visit.page.inner_text("#why")
    assert visit.faults == []
    visit.page.close()


def test_a_key_sees_what_it_may_call(browser: Browser, proxy: Proxy) -> None:
    """Its own model group, read only; no spend, no request, no other group, and nothing with a wrong key."""
    visit = Visit(browser, proxy, KEY_OF_OTHER)
    text = visit.show("overview", "Overview")
    assert OTHER in text
    assert GROUP not in text
    assert "spend" not in text.lower()
    visit.show(f"deployment?group={OTHER}&name=other-1", "other-1")
    assert visit.page.locator("#override-form").count() == 0
    assert "may not call" in visit.show(f"group?name={quote(GROUP, safe='')}", "Group")
    assert "administrators only" in visit.show("request?id=x", "Request")
    visit.page.close()
    assert api(proxy, "status", KEY_OF_OTHER).status_code in (401, 403)
    for path in ("overview", "incidents", f"group?name={quote(GROUP)}"):
        assert proxy.request("GET", f"{ROOT}/exacto/page/{path}", "sk-nobody").status_code in (401, 403)
        assert proxy.request("GET", f"{ROOT}/exacto/page/{path}", "none").status_code in (401, 403)


def test_an_override_from_the_page(browser: Browser, proxy: Proxy) -> None:
    """Set with a reason, in force at once, told on the page, and ended again; the key is in no cookie."""
    visit = Visit(browser, proxy)
    visit.show(f"deployment?group={OTHER}&name=other-1", "other-1")
    visit.page.fill("#reason", "vendor is testing")
    visit.page.click("#override-form button")
    visit.until("document.querySelector('.lead')?.textContent.includes('vendor is testing')")
    assert seen_tiers(proxy, OTHER)["other-1"] == DERANKED
    visit.page.select_option("#word", "reset")
    visit.page.fill("#reason", "done")
    visit.page.click("#override-form button")
    visit.until("document.querySelector('.lead')?.textContent.includes('override') === false")
    assert visit.page.context.cookies() == []
    assert visit.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
    visit.page.click("#leave")
    assert visit.page.evaluate("sessionStorage.length") == 0
    assert visit.page.inner_text("#view") == ""
    assert visit.faults == []
    visit.page.close()


def test_in_litellms_sidebar(browser: Browser, proxy: Proxy) -> None:
    """An administrator is signed in without a key, others paste one; in frames of no other origin."""
    page = framed(browser, proxy.base_url + ROOT, MASTER_KEY)
    frame = page.frame_locator("iframe")
    frame.locator("#view h1").wait_for()
    assert GROUP in frame.locator("#view").inner_text()
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    (inner,) = page.main_frame.child_frames
    inner.evaluate(f"location.hash = 'deployment?group={OTHER}&name=other-1'")
    frame.locator("#reason").fill("vendor is testing")
    frame.locator("#override-form button").click()
    frame.get_by_text("The override to deranked was set.").wait_for()
    frame.locator("#word").select_option("reset")
    frame.locator("#reason").fill("done")
    frame.locator("#override-form button").click()
    frame.get_by_text("The override was ended.").wait_for()
    page.close()
    page = framed(browser, proxy.base_url + ROOT, KEY_OF_OTHER)
    page.frame_locator("iframe").locator("#secret").wait_for()
    assert page.frame_locator("iframe").locator("#view").inner_text() == ""
    page.close()
    page = framed(browser, proxy.base_url + ROOT, MASTER_KEY, host="localhost")
    page.wait_for_function("() => frames.length === 1")
    eventually(lambda: _frame_url(page), "chrome-error://chromewebdata/")
    page.close()


def _frame_url(page: Page) -> str:
    """Address of the only frame: Playwright takes in what the browser tells only during a call of its own."""
    page.wait_for_timeout(1)
    return page.main_frame.child_frames[0].url


def test_the_file_for_the_provider(browser: Browser, proxy: Proxy) -> None:
    """A download with this deployment's numbers and no other name."""
    visit = Visit(browser, proxy)
    incident = api(proxy, "incidents").json()["incidents"][0]["id"]
    visit.show(f"incident?id={incident}", f"Incident of {BAD}")
    with visit.page.expect_download() as saved:
        visit.page.click("button[data-download]")
    content = Path(saved.value.path()).read_text(encoding="utf-8")
    assert BAD in content
    assert not [name for name in (*NAMES[:-1], "cost_usd") if name in content]
    visit.page.close()


def test_the_usual_range_fits_and_a_chosen_one_stays(browser: Browser, proxy: Proxy) -> None:
    """A proxy that has just started shows an hour; the links of a range change the address, which a reload keeps."""
    visit = Visit(browser, proxy)
    shown = "document.querySelector('.ranges [aria-current]')?.textContent"
    visit.show(f"deployment?group={quote(GROUP, safe='')}&name={BAD}", BAD)
    visit.until(f"{shown} === '1 hour'")
    visit.page.click(".ranges a:text-is('6 hours')")
    visit.until(f"{shown} === '6 hours'")
    assert visit.page.url.endswith("&range=6h")
    visit.page.reload()
    visit.until(f"{shown} === '6 hours'")
    summaries = visit.page.locator("summary").all_inner_texts()
    assert summaries[:2] == ["Numbers: bad tool calls", "Numbers: kinds of bad answers"]
    assert visit.faults == []
    visit.page.close()


def test_calls_of_a_deranked_deployment_are_points(
    browser: Browser, proxy: Proxy, provider_server: SimulatedProviders
) -> None:
    """Its line ends; what it still answers is counted as what it is, in the chart and in its table."""
    visit = Visit(browser, proxy)
    view = f"deployment?group={quote(GROUP, safe='')}&name={BAD}&range=1h"

    def points() -> list[list[float]]:
        visit.show("incidents", "Incidents")
        visit.show(view, BAD)
        found: list[list[float]] = visit.page.evaluate(
            "JSON.parse(document.querySelector('.plot').dataset.chart).points"
        )
        return [one[3:] for one in found]

    def calls() -> list[int]:
        acts = provider_server.control.acts(BAD)
        bad = sum(acts.get(kind, 0) for kind in BAD_CALLS)
        return [bad, bad + acts.get(Act.VALID, 0)]

    before, called = [sum(column) for column in zip((0, 0), *points(), strict=True)], calls()
    for _ in range(6):
        ask(proxy, BAD)
    more = [now - then for now, then in zip(calls(), called, strict=True)]
    assert more[1] == 6
    wanted = [number + extra for number, extra in zip(before, more, strict=True)]
    eventually(lambda: [sum(column) for column in zip((0, 0), *points(), strict=True)], wanted)
    text = visit.page.inner_text("#view figure")
    assert f"While deranked, in this time: {BAD} {wanted[0]:.0f} of {wanted[1]:.0f} calls bad." in text
    visit.page.click("summary")
    cells = [one for one in visit.page.locator("#view figure td").all_inner_texts() if " of " in one]
    assert sum(int(one.split(" of ")[1].split()[0]) for one in cells) == wanted[1]
    assert visit.faults == []
    visit.page.close()


def test_the_shell_has_no_data_and_a_strict_policy(proxy: Proxy) -> None:
    """Nothing of the fleet without a key; nothing inline; all of it small."""
    shell = proxy.request("GET", f"{ROOT}/exacto", "none")
    assert shell.status_code == 200
    assert shell.headers["content-security-policy"] == FRAMED_POLICY
    assert not [name for name in (*NAMES, GROUP, "sk-") if name in shell.text]
    slashed = proxy.request("GET", "/exacto/", "none").text
    assert 'src="./static/page.js"' in slashed
    size = len(shell.content)
    for name in ("page.js", "page.css", "uPlot.iife.min.js", "uPlot.min.css", "favicon.svg"):
        answer = proxy.request("GET", f"{ROOT}/exacto/static/{name}", "none")
        assert answer.status_code == 200
        size += len(answer.content)
        again = proxy.request(
            "GET", f"/exacto/static/{name}", "none", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert again.status_code == 304
    assert size < 120_000
    assert proxy.request("GET", "/exacto/static/page_data.py", "none").status_code == 404
