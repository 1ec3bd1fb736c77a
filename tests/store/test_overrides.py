"""What operators change is on record, and their words are read by everybody who shares the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exacto_plugin.config.diff import digest
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Sample, Tier
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import ObservedRecord, OverrideRecord, SettingsRecord
from exacto_plugin.store.overrides import StoreOverrides
from exacto_plugin.store.rows import find, reading
from exacto_plugin.store.store import Store
from tests.test_telemetry import _router

if TYPE_CHECKING:
    from exacto_plugin.store.location import StoreLocation

NOW = 1_700_000_000.0


async def test_words_are_shared_and_kept(lasting_place: StoreLocation) -> None:
    """Another process reads what hangs there, once each, the newest of a deployment; all of them stay on record."""
    stores = [Store(lasting_place), Store(lasting_place)]
    first, second = (StoreOverrides(store, lambda: NOW + 10) for store in stores)
    words = [
        Override("g", DeploymentKey("a"), OverrideAction.GOOD, "it is fine", "me", NOW, NOW + 60),
        Override("g", DeploymentKey("a"), OverrideAction.RESET, "", "me", NOW + 1, NOW + 60),
        Override("g", DeploymentKey("b"), OverrideAction.DERANKED, "maintenance", "me", NOW, NOW + 60),
        Override("g", DeploymentKey("c"), OverrideAction.GOOD, "for a moment", "me", NOW, NOW + 5),
    ]
    for _ in range(2):
        await first.write(words)
        await second.write(words)
    assert sorted(await second.read(), key=lambda word: word.deployment) == words[1:]
    for store in stores:
        store.close()
    with reading(lasting_place) as connection:
        assert len(find(connection, OverrideRecord)) == 4


def test_what_a_process_puts_on_record(lasting_place: StoreLocation) -> None:
    """Its settings as it starts, what of them changes, and the observed numbers as an hour ends."""
    now, given = [NOW], [Settings.model_validate({"mode": "observe"})]
    before = Settings.model_validate({"exploration": {"share": 0}})
    runtime = Runtime(before, lambda: now[0], lambda: given.pop() if given else None, place=lasting_place)
    router = _router("g")
    runtime.routers.set_source(lambda: router)
    asyncio.run(runtime.settings_reload.take_changes())
    runtime.samples.record(
        Sample("g", DeploymentKey("a"), NOW, output_tokens=200, duration_s=2.0),
        Candidate(LiteLLMId("a"), DeploymentKey("a"), "provider-a"),
    )
    asyncio.run(runtime.observed_job.run_due())
    now[0] += 3600
    asyncio.run(runtime.observed_job.run_due())
    asyncio.run(runtime.overrides.apply_override(OverrideAction.GOOD, "a", 60.0, "trusted", "me"))
    assert runtime.store.flush()
    runtime.store.close()
    with reading(lasting_place) as connection:
        settings = [(one.source, one.digest, one.changes) for one in find(connection, SettingsRecord)]
        assert settings == [
            ("start", digest(before), {"exploration.share": [0.02, 0.0]}),
            (
                "change",
                digest(runtime.context.settings),
                {"mode": ["apply", "observe"], "exploration.share": [0.0, 0.02]},
            ),
        ]
        (hour,) = find(connection, ObservedRecord)
        assert (hour.at, hour.model_group, hour.deployment) == (NOW // 3600 * 3600, "g", "a")
        assert hour.numbers == {"throughput_answers": 1}
        (word,) = find(connection, OverrideRecord)
        assert (word.at, word.word, word.reason) == (now[0], "good", "trusted")


def test_a_restart_finds_the_words(lasting_place: StoreLocation) -> None:
    """A process that ends takes nothing along: the next one has every word as it was, and those taken back stay so."""

    def begin(at: float) -> Runtime:
        runtime = Runtime(Settings(), lambda: at, place=lasting_place)
        router = _router("g")
        runtime.routers.set_source(lambda: router)
        return runtime

    before = begin(NOW)
    for word, deployment in (
        (OverrideAction.DERANKED, "a"),
        (OverrideAction.GOOD, "b"),
        (OverrideAction.DERANKED, "c"),
    ):
        assert asyncio.run(before.overrides.apply_override(word, deployment, 3600.0, "because", "me")).kept
    before.store.close()
    after = begin(NOW + 60)
    asyncio.run(after.overrides.poll())
    asyncio.run(after.overrides.apply_override(OverrideAction.RESET, "b", 0.0, "", "me"))
    assert {word.deployment: word for word in after.engine.overrides.in_force} == {
        word.deployment: word for word in before.engine.overrides.in_force if word.deployment != "b"
    }
    verdicts = after.engine.snapshot.groups["g"].verdicts
    assert {name: verdict.tier for name, verdict in verdicts.items()} == {"a": Tier.DERANKED, "c": Tier.DERANKED}
    after.store.close()
    last = begin(NOW + 3700)
    asyncio.run(last.overrides.poll())
    assert last.engine.overrides.in_force == ()
    last.store.close()
