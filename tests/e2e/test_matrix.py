"""Every surface, whole and streamed, times every way to answer, through one proxy: verdict, blame, headers, routing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import openai
import orjson
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.answer_matrix import (
    ARGUMENTS,
    CELLS,
    COLUMNS,
    CONTENT,
    MODES,
    NOTHING,
    PROVIDER,
    Cell,
    Counts,
    at_once,
    counted,
    entry,
    evidence,
    pair,
    right_counts,
)
from tests.support.proxy.observation import PATIENCE_S, Probe, api
from tests.support.proxy.openai_client import asked, config
from tests.support.proxy.surfaces import CHAT, Clients, Heard
from tests.support.proxy.tier_setup import DERANKED, INSUFFICIENT, seen_tiers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from exacto_plugin.demo.control import ProviderControl
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

CALLS: Final = 40
"""Answers of two deployments that may make a verdict here."""
RULE: Final = {"phi_start": 1.0, "derank_calls": 5}
UNLISTED: Final = ("", "client_disconnect")
"""A model group of which nothing is known but that a client left is not listed yet."""
NATIVE: Final = {False: "", True: "-native"}
"""Ends of the names of groups that exist for both kinds of provider."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy of this module."""
    return Probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, probe: Probe) -> Proxy:
    """A model group for each cell, one where a deployment breaks calls, and some for fallback hops."""
    model_list = [one for cell in CELLS.values() for one in pair(provider_server, cell)]
    for native, end in NATIVE.items():
        new: Callable[..., dict[str, Any]] = partial(entry, provider_server, native=native)
        model_list += [new(f"{name}{end}", f"ranked{end}") for name in ("worse", "better")]
        model_list += [new(f"gone{end}", f"gone{end}", num_retries=0), new(f"hop{end}", f"hop{end}")]
        levels = {f"gone-first{end}": {"order": 1, "num_retries": 0}, f"second{end}": {"order": 2}}
        model_list += [new(name, f"levels{end}", **params) for name, params in levels.items()]
    router = {"num_retries": 1, "disable_cooldowns": True}
    tiers = {"recompute_interval_s": 1.0, "adaptive": RULE}
    made = config(model_list, router=router, tiers=tiers, exploration={"share": 0})
    return start_proxy(made, environment=probe.environment)


@dataclass(frozen=True)
class Seen:
    """Everything that can be known after all cells were asked."""

    heard: Mapping[str, Any]
    """By cell: what the client got or raised."""
    counts: Mapping[str, Counts]
    """By cell, as all further ones."""
    requests: Counter[str]
    verdicts: Mapping[str, Mapping[str, Any]]
    """By deployment: as the API tells it."""
    asked: Mapping[str, int]
    """By deployment: how often it was asked."""


def _ask(cell: Cell, control: ProviderControl) -> Callable[[Clients], Coroutine[Any, Any, Heard | None]]:
    async def ask(clients: Clients) -> Heard | None:
        asking = cell.column.surface.ask(clients, cell.slug, stream=cell.stream, leaves=cell.way.leaves)
        if not cell.way.leaves or cell.stream:
            return await asking
        waiting = asyncio.ensure_future(asking)
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(control.requests, cell.first):  # noqa: ASYNC110 -- no event to await
                await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return None

    return ask


def _verdicts(proxy: Proxy) -> dict[str, Any]:
    groups = api(proxy, "models").raise_for_status().json()["model_groups"]
    return {one["deployment"]: one for group in groups for one in group["deployments"]}


@pytest.fixture(scope="module")
def seen(proxy: Proxy, provider_server: SimulatedProviders, probe: Probe) -> Seen:
    """Ask every cell once, and wait until all that must be counted is, or until it is too late."""
    control = provider_server.control
    control.reset()
    for cell in CELLS.values():
        control.behave(
            cell.first, always=cell.way.act, latency_s=cell.way.latency_s, arguments=ARGUMENTS, content=CONTENT
        )
        if cell.way.error:
            control.behave(cell.spare, arguments=ARGUMENTS, content=CONTENT)
    heard = dict(zip(CELLS, at_once(proxy, [_ask(cell, control) for cell in CELLS.values()]), strict=True))
    ends = time.monotonic() + PATIENCE_S
    wanted = {name: right_counts(cell) for name, cell in CELLS.items()}
    while True:
        counts, requests = counted(probe.scrape())
        right = {name: counts.get(name, NOTHING) for name in CELLS} == wanted and requests == _right_outcomes()
        if right or time.monotonic() > ends:
            break
        time.sleep(0.2)
    listed = [cell for cell in CELLS.values() if cell.way.outcome not in UNLISTED]
    ends = time.monotonic() + PATIENCE_S
    while True:
        verdicts = _verdicts(proxy)
        if all(_is_known(verdicts, cell) for cell in listed) or time.monotonic() > ends:
            break
        time.sleep(0.2)
    names = [name for cell in CELLS.values() for name in (cell.first, cell.spare)]
    return Seen(heard, counts, requests, verdicts, asked(provider_server, names))


def _right_outcomes() -> Counter[str]:
    """What must have been counted of requests."""
    return Counter(cell.way.outcome for cell in CELLS.values() if cell.way.outcome and not cell.fails)


def _is_known(verdicts: Mapping[str, Any], cell: Cell) -> bool:
    """Whether all that tiers and flaws count of a cell's answer has come into a verdict."""
    flaws = {cell.way.flaw: 1} if cell.way.flaw else {}
    return (
        cell.served in verdicts
        and evidence(verdicts, cell.served) == cell.way.evidence
        and verdicts[cell.served]["flaws"] == flaws
    )


@pytest.mark.parametrize("name", CELLS)
def test_a_cell(seen: Seen, name: str) -> None:
    """One answer counts once, as what it is, for who gave it; the client gets it, and headers that name who gave it."""
    cell = CELLS[name]
    way, heard = cell.way, seen.heard[name]
    assert (seen.asked[cell.first], seen.asked[cell.spare]) == (1, int(cell.served == cell.spare))
    headers: Mapping[str, str] | None = None
    if cell.fails:
        assert isinstance(heard, openai.APIStatusError)
        assert heard.status_code == way.act
        headers = heard.response.headers
    elif not way.leaves or cell.stream:
        assert isinstance(heard, Heard), heard
        assert heard.models == {cell.slug}
        assert bool(heard.said) is (way.name != "missing")
        assert cell.says is None or _plain(heard.said) == _plain(cell.says)
        headers = heard.headers
    if headers is not None:
        named = {part: headers.get(f"x-exacto-{part}") for part in ("policy", "deployment", "tier", "provider")}
        right = {"policy": cell.column.policy, "deployment": cell.served, "tier": INSUFFICIENT, "provider": PROVIDER}
        assert named == right
        assert headers["x-exacto-decision"]
    assert seen.counts.get(name, NOTHING) == right_counts(cell)
    assert evidence(seen.verdicts, cell.served) == way.evidence
    known = seen.verdicts.get(cell.served)
    assert (known is None) is (way.outcome in UNLISTED)
    assert known is None or known["flaws"] == ({way.flaw: 1} if way.flaw else {})


def _plain(said: str) -> Any:
    return orjson.loads(said) if said.startswith("{") else said


def test_requests_are_counted_by_outcome(seen: Seen) -> None:
    """Every request counts once, as what became of it."""
    assert seen.requests == _right_outcomes()


FORMS: Final = [(name, stream) for name in COLUMNS for stream in MODES.values()]


def _everywhere(
    slugs: Callable[[str, bool], str], **more: Any
) -> list[Callable[[Clients], Coroutine[Any, Any, Heard]]]:
    """One question in each form; ``slugs`` tells the slug from the end of the group's name."""

    def asking(name: str, stream: bool) -> Callable[[Clients], Coroutine[Any, Any, Heard]]:
        column = COLUMNS[name]
        slug = slugs(NATIVE[column.native], column.tools)
        body = {key: [f"{one}" for one in value] for key, value in more.items()}
        return lambda clients: column.surface.ask(clients, slug, stream=stream, extra_body=body)

    return [asking(*form) for form in FORMS]


def test_a_deranked_deployment_is_asked_last(proxy: Proxy, providers: SimulatedProviders) -> None:
    """On every surface: it answers once the other one fails, and the header says in which tier it is."""
    for end in NATIVE.values():
        providers.control.behave(f"worse{end}", always=Act.INVALID_JSON)
    groups = {f"ranked{end}": f"worse{end}" for end in NATIVE.values()}
    plain = [partial(CHAT.ask, slug=group, stream=True) for group in groups for _ in range(CALLS)]
    ends = time.monotonic() + 3 * PATIENCE_S
    while not all(seen_tiers(proxy, group).get(worse) == DERANKED for group, worse in groups.items()):
        assert time.monotonic() < ends, [seen_tiers(proxy, group) for group in groups]
        assert all(isinstance(heard, Heard) for heard in at_once(proxy, plain))
    for end in NATIVE.values():
        providers.control.behave(f"better{end}", always=500)
    names = [f"{name}{end}" for name in ("worse", "better") for end in NATIVE.values()]
    before = asked(providers, names)
    heard = at_once(proxy, _everywhere(lambda end, tools: f"ranked{end}" if tools else f"ranked{end}:exacto"))
    for (name, stream), one in zip(FORMS, heard, strict=True):
        end = NATIVE[COLUMNS[name].native]
        if name == "text" and stream:  # see Cell.fails
            assert isinstance(one, openai.InternalServerError)
            assert one.response.headers["x-exacto-deployment"] == f"better{end}"
            continue
        assert isinstance(one, Heard), (name, stream, one)
        named = {part: one.headers.get(f"x-exacto-{part}") for part in ("deployment", "tier")}
        assert named == {"deployment": f"worse{end}", "tier": DERANKED}, (name, stream)
    counts = {name: count - before[name] for name, count in asked(providers, names).items()}
    assert counts == {"worse": 9, "better": 10, "worse-native": 2, "better-native": 2}


@pytest.mark.parametrize("field", ["models", "fallbacks"])
def test_a_hop_of_the_client_is_told_as_it_was_written(proxy: Proxy, providers: SimulatedProviders, field: str) -> None:
    """Where an entry of the client's own list answers, the model is that entry, suffixes and all."""
    for end in NATIVE.values():
        providers.control.behave(f"gone{end}", always=500)

    def slug(end: str, _tools: bool) -> str:
        return f"gone{end}:floor"

    for entries in (["hop:nitro"], ["hop"]):
        heard = at_once(proxy, _everywhere(slug, **{field: entries}))
        for (name, stream), one in zip(FORMS, heard, strict=True):
            if name == "text" and stream:  # see Cell.fails
                assert isinstance(one, openai.InternalServerError)
                continue
            assert isinstance(one, Heard), (name, stream, one)
            assert one.models == set(entries), (name, stream)
            tiers = "auto" if COLUMNS[name].tools else "none"  # nothing is sorted without tools
            assert one.headers["x-exacto-policy"] == ("throughput" if entries == ["hop:nitro"] else tiers)


def test_a_hop_within_the_model_group_is_none_for_the_client(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Where a later ``order`` level answers, the model is what the client sent."""
    for end in NATIVE.values():
        providers.control.behave(f"gone-first{end}", always=500)
    heard = at_once(proxy, _everywhere(lambda end, _tools: f"levels{end}:exacto"))
    for (name, stream), one in zip(FORMS, heard, strict=True):
        if name == "text" and stream:  # see Cell.fails
            continue
        assert isinstance(one, Heard), (name, stream, one)
        assert one.models == {f"levels{NATIVE[COLUMNS[name].native]}:exacto"}, (name, stream)


def test_nothing_failed_on_the_way(seen: Seen, proxy: Proxy, probe: Probe) -> None:
    """After all of the above not one fault of our own was counted. The last test of this module."""
    assert api(proxy, "status").json()["faults"] == {}
    assert probe.warnings() == []
