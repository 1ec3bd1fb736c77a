"""The settings: defaults, what is refused with which words, and where the block is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from exacto_plugin.config.settings import GroupSettings, Settings, load_settings
from exacto_plugin.config.sources import find_settings, settings_of_file
from exacto_plugin.config.tiers import TierPreset
from exacto_plugin.core.model import Flaw, Mode, Sort
from exacto_plugin.core.scoring.attribution import LossPolicy
from exacto_plugin.core.scoring.evaluator import EmptyArguments
from exacto_plugin.core.scoring.flaws import LOSSES
from exacto_plugin.core.scoring.json_schema.engine import EngineSetting
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterPreset
from exacto_plugin.errors import ExactoError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _load(text: str) -> Settings:
    return load_settings(yaml.safe_load(text))


def _fault(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(text)
    return str(caught.value)


def test_no_block_means_the_documented_defaults() -> None:
    """Without a block, with an empty one, and with empty parts, every default holds."""
    settings = load_settings(None)
    assert settings == load_settings({}) == _load("tiers:\nmodel_groups:\nexpose:")
    assert (settings.mode, settings.apply_share, settings.default_sort) == (Mode.APPLY, 1.0, Sort.AUTO)
    assert (settings.curated, settings.model_groups, settings.client_preferences) == ({}, {}, "allow")
    assert (settings.expose.headers, settings.expose.providers) == (True, True)
    assert (settings.tiers.preset, settings.tiers.recompute_interval_s) == (TierPreset.ADAPTIVE, 300.0)
    assert (settings.failover.max_attempts, settings.scoring.engine) == (None, EngineSetting.AUTO)
    rescue = settings.rescue
    assert (rescue.enabled, rescue.max_attempts, rescue.max_extra_seconds, rescue.streams) == (False, 1, 30.0, False)


def test_a_full_block_is_understood() -> None:
    """Every setting can be written the way the documentation writes it."""
    settings = _load("""
        mode: observe
        apply_share: 0.25
        default_sort: price_weighted
        curated: {"moonshotai/kimi-k2-0905": [moonshotai, fireworks]}
        model_groups: {"z-ai/glm-4.6": {mode: apply, apply_share: 1, default_sort: none}}
        client_preferences: deny
        expose: {headers: false, providers: false}
        tiers: {preset: openrouter, recompute_interval_s: 60}
        failover: {max_attempts: 3}
        rescue: {enabled: true, max_attempts: 2, max_extra_seconds: 5, streams: true}
        scoring: {engine: jsonschema, empty_arguments: empty_object}
        """)
    assert (settings.mode, settings.apply_share, settings.default_sort) == (Mode.OBSERVE, 0.25, Sort.PRICE_WEIGHTED)
    assert settings.client_preferences == "deny"
    assert (settings.expose.headers, settings.expose.providers) == (False, False)
    assert settings.tiers.recompute_interval_s == 60.0
    assert settings.failover.max_attempts == 3
    rescue = settings.rescue
    assert (rescue.enabled, rescue.max_attempts, rescue.max_extra_seconds, rescue.streams) == (True, 2, 5.0, True)
    assert (settings.scoring.engine, settings.empty_arguments) == (
        EngineSetting.JSONSCHEMA,
        EmptyArguments.EMPTY_OBJECT,
    )


def test_a_model_group_keeps_the_global_value_of_what_it_does_not_name() -> None:
    """Exceptions of a model group win over the global value, one setting at a time."""
    settings = _load("""
        mode: observe
        apply_share: 0.5
        default_sort: price
        model_groups: {a: {mode: off}, b: {apply_share: 0.0, default_sort: exacto}}
        """)
    assert [settings.mode_of(group) for group in "abc"] == [Mode.OFF, Mode.OBSERVE, Mode.OBSERVE]
    assert [settings.apply_share_of(group) for group in "abc"] == [0.5, 0.0, 0.5]
    assert [settings.default_sort_of(group) for group in "abc"] == [Sort.PRICE, Sort.EXACTO, Sort.PRICE]
    assert all(type(settings.default_sort_of(group)) is Sort for group in "abc")


@pytest.mark.parametrize(
    ("block", "limited"),
    [
        ({}, False),
        ({"curated": {"g": ["a"]}, "model_groups": {"g": {"mode": "observe"}}}, False),
        ({"ignore": ["a"]}, True),
        ({"model_groups": {"g": {"only": ["a"]}}}, True),
    ],
)
def test_settings_tell_whether_they_have_limits(block: dict[str, object], limited: bool) -> None:
    """Hard filters of the proxy or of any model group are limits; a curated list holds for requests that ask for it."""
    assert load_settings(block).has_limits is limited


def test_curated_lists_are_found_by_model_group() -> None:
    """A group without a list is told apart from any list."""
    settings = _load('curated: {"deepseek/deepseek-v3.1-terminus": [deepseek, "d-1"]}')
    assert settings.curated_list("deepseek/deepseek-v3.1-terminus") == ("deepseek", "d-1")
    assert settings.curated_list("deepseek/deepseek-chat") is None


def test_an_unquoted_off_is_the_mode_off() -> None:
    """YAML reads ``mode: off`` as false; it still means off, and true still means nothing."""
    assert _load("mode: off").mode is Mode.OFF
    assert "got true, expected one of apply, observe, off" in _fault("mode: on")


def test_text_from_environment_variables_is_understood() -> None:
    """LiteLLM resolves os.environ/NAME to text, so numbers and booleans may come as text."""
    settings = load_settings({"apply_share": "0.1", "expose": {"headers": "false"}, "failover": {"max_attempts": "2"}})
    assert (settings.apply_share, settings.expose.headers, settings.failover.max_attempts) == (0.1, False, 2)


def test_the_numbers_of_the_published_rule_can_be_changed_one_by_one() -> None:
    """What is not named keeps the published number, and an empty part keeps all of them."""
    rule = _load("tiers: {preset: openrouter, openrouter: {min_peers: 3, tool_call_requests: '50'}}").tiers.rule()
    assert isinstance(rule, OpenRouterParameters)
    assert (rule.min_peers, rule.tool_call_requests) == (3, 50)
    assert (rule.tool_call_deviations, rule.tool_call_window_s) == (2.0, 7200.0)
    assert _load("tiers: {openrouter: }").tiers == load_settings(None).tiers


def test_the_numbers_of_the_adaptive_rule_and_what_it_may_explore() -> None:
    """The default preset takes numbers one by one, its one switch, and the share of probes from its own part."""
    settings = _load("{tiers: {adaptive: {peer_cap: '0.03', propensity_deranks: on}}, exploration: {share: 0.01}}")
    rule = settings.rule()
    assert isinstance(rule, AdaptivePreset)
    assert (rule.rule.peer_cap, rule.rule.propensity_deranks, rule.exploration_share) == (0.03, True, 0.01)
    assert rule.rule.cover == AdaptiveParameters().cover
    assert load_settings(None).rule() == AdaptivePreset(AdaptiveParameters(), 0.02)
    assert isinstance(_load("tiers: {preset: openrouter}").rule(), OpenRouterParameters)


def test_empty_arguments_follow_the_preset_unless_configured() -> None:
    """The published rule reads "" as invalid JSON; an operator may say otherwise."""
    assert load_settings(None).empty_arguments is EmptyArguments.EMPTY_OBJECT
    published = "tiers: {preset: openrouter}"
    assert _load(published).empty_arguments is EmptyArguments.INVALID_JSON
    assert (
        _load(published + "\nscoring: {empty_arguments: empty_object}").empty_arguments is EmptyArguments.EMPTY_OBJECT
    )
    assert _load("scoring: {empty_arguments: invalid_json}").empty_arguments is EmptyArguments.INVALID_JSON


def test_lost_calls_follow_the_preset_unless_configured() -> None:
    """The published definition sees none and excuses nobody; an operator may say otherwise, for either preset."""
    assert load_settings(None).charge == LossPolicy(frozenset(LOSSES), excuses_callers=True)
    published = "tiers: {preset: openrouter}"
    assert _load(published).charge == LossPolicy(frozenset(), excuses_callers=False)
    some = _load(published + "\nscoring: {lost_calls: [leaked_markup, duplicate_id]}")
    assert some.charge == LossPolicy(frozenset({Flaw.LEAKED_MARKUP, Flaw.DUPLICATE_ID}), excuses_callers=False)
    assert some.rule() == OpenRouterPreset(OpenRouterParameters(), counts_lost=True)
    assert _load("scoring: {lost_calls: []}").charge.losses == frozenset()
    with pytest.raises(SettingsError, match="lost_calls"):
        _load("scoring: {lost_calls: [truncated]}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "default_sort: cheap",
            "exacto_settings.default_sort: got 'cheap', expected one of"
            " auto, exacto, price_weighted, price, throughput, latency, none",
        ),
        ("default_sort: order", "exacto_settings.default_sort: got 'order', expected one of auto, exacto"),
        ("default_sort: throughputs", "none (did you mean throughput?)"),
        ("mode:", "exacto_settings.mode: got null, expected one of apply, observe, off"),
        ("apply_share: 1.5", "exacto_settings.apply_share: got 1.5, expected at most 1"),
        ("apply_share: -0.1", "exacto_settings.apply_share: got -0.1, expected at least 0"),
        ("apply_share: yes", "exacto_settings.apply_share: got true, expected a number"),
        ("apply_share: half", "exacto_settings.apply_share: got 'half', expected a number"),
        ("apply_share: .nan", "exacto_settings.apply_share: got nan, expected "),
        ("tires: {}", "exacto_settings.tires: unknown key, expected one of mode, apply_share"),
        ("tires: {}", "(did you mean tiers?)"),
        ("bench: {}", "exacto_settings.bench: unknown key"),
        ("store: {retention: {audits: 3}}", "exacto_settings.store.retention"),
        ("store: {retention_days: 0}", "exacto_settings.store.retention_days: got 0, expected greater than 0"),
        ("rescue: {max_attempts: 0}", "exacto_settings.rescue.max_attempts: got 0, expected at least 1"),
        ("rescue: {max_extra_seconds: 0}", "exacto_settings.rescue.max_extra_seconds: got 0, expected greater than 0"),
        ("tiers: {preset: best}", "exacto_settings.tiers.preset: got 'best', expected one of adaptive, openrouter"),
        ("tiers: {adaptive: {peer_cap: on}}", "tiers.adaptive.peer_cap: got true, expected a number"),
        ("tiers: {adaptive: {good_tail: 0.7}}", "tiers.adaptive.good_tail: got 0.7, expected "),
        ("tiers: {adaptive: {peer_cpa: 1}}", "(did you mean peer_cap?)"),
        ("exploration: {share: 2}", "exacto_settings.exploration.share: got 2, expected at most 1"),
        ("tiers: {recompute_interval: 5}", "exacto_settings.tiers.recompute_interval: unknown key"),
        (
            "tiers: {recompute_interval_s: 0}",
            "exacto_settings.tiers.recompute_interval_s: got 0, expected greater than 0",
        ),
        ("tiers: {openrouter: {min_peer: 3}}", "tiers.openrouter.min_peer: unknown key, expected one of min_peers, "),
        ("tiers: {openrouter: {min_peers: x}}", "tiers.openrouter.min_peers: got 'x', expected a whole number"),
        ("tiers: {openrouter: {min_peers: 0}}", "tiers.openrouter.min_peers: got 0, expected "),
        ("tiers: {openrouter: {min_peers: on}}", "tiers.openrouter.min_peers: got true, expected a number"),
        ("tiers: {openrouter: {tool_call_window_s: .inf}}", "tiers.openrouter.tool_call_window_s: got inf, expected "),
        ("tiers: {openrouter: [4]}", "exacto_settings.tiers.openrouter: got a list, expected a mapping"),
        ("tiers: adaptive", "exacto_settings.tiers: got a text, expected a mapping"),
        ("failover: {max_attempts: 0}", "exacto_settings.failover.max_attempts: got 0, expected at least 1"),
        ("failover: {max_attempts: 1.5}", "exacto_settings.failover.max_attempts: got 1.5, expected a whole number"),
        ("expose: {headers: maybe}", "exacto_settings.expose.headers: got 'maybe', expected true or false"),
        ("client_preferences: alow", "got 'alow', expected one of allow, deny (did you mean allow?)"),
        ("curated: {a/b: []}", 'exacto_settings.curated["a/b"]: got a list, expected a list with at least one entry'),
        ("curated: {a: moonshotai}", "exacto_settings.curated.a: got a text, expected a list"),
        ("curated: {a: [1]}", "exacto_settings.curated.a[0]: got a number, expected a text"),
        ("curated: {a: ['']}", "exacto_settings.curated.a[0]: expected a text that is not empty"),
        ("curated: [a]", "exacto_settings.curated: got a list, expected a mapping"),
        (
            'model_groups: {"z-ai/glm-4.6": {mod: off}}',
            'exacto_settings.model_groups["z-ai/glm-4.6"].mod: unknown key, expected one of mode, apply_share,'
            " default_sort, only, ignore, max_price, quantizations, data_collection, zdr (did you mean mode?)",
        ),
        ("scoring: {engine: rust}", "exacto_settings.scoring.engine: got 'rust', expected one of auto, jsonschema_rs"),
        ("{1: 2}", "exacto_settings[1]: got a number, expected a text as key"),
    ],
)
def test_a_fault_names_the_key_and_the_expectation(text: str, message: str) -> None:
    """An operator can mend the configuration from the message alone; values of enums and numbers are in it."""
    assert message in _fault(text)


def test_all_faults_are_told_at_once() -> None:
    """One start is enough to learn of everything that is wrong, one line each."""
    assert len(_fault("mode: a\ntiers: {preset: b}\nfoo: 1\ncurated: {a: [1, 2]}").splitlines()) == 5


def test_a_long_bad_value_is_cut() -> None:
    """A message stays readable when somebody pastes a document where a word belongs."""
    assert len(_fault("default_sort: " + "x" * 5000)) < 300


def test_the_block_itself_must_be_a_mapping() -> None:
    """A list or a word under exacto_settings stops the start."""
    with pytest.raises(SettingsError, match="exacto_settings: got a text, expected a mapping"):
        find_settings({"exacto_settings": "off"}, {})


def test_settings_cannot_be_changed_after_loading() -> None:
    """Many requests read one object, so nobody may write to it."""
    settings = load_settings(None)
    with pytest.raises(ValidationError, match="frozen"):
        settings.mode = Mode.OFF


def test_settings_errors_are_the_packages_own() -> None:
    """One base class catches everything the package raises on purpose."""
    assert issubclass(SettingsError, ExactoError)


def test_the_proxys_block_is_found() -> None:
    """The block of the proxy's configuration is used; without one, or without a proxy, defaults hold."""
    assert find_settings({"exacto_settings": {"mode": "observe"}, "model_list": []}, {}).mode is Mode.OBSERVE
    named = find_settings({"exacto_settings": {"mode": "os.environ/HOW"}}, {"HOW": "observe"})
    assert named.mode is Mode.OBSERVE, "as LiteLLM itself reads its file"
    assert find_settings({"exacto_settings": None}, {}) == find_settings({}, {}) == find_settings(None, {})


def test_the_named_file_wins_over_the_proxys_block(tmp_path: Path) -> None:
    """EXACTO_CONFIG names a file with the same block, and other keys of that file are left alone."""
    file = tmp_path / "exacto.yaml"
    file.write_text("model_list: []\nexacto_settings: {mode: off}\n")
    found = find_settings({"exacto_settings": {"mode": "observe"}}, {"EXACTO_CONFIG": str(file)})
    assert found.mode is Mode.OFF


def test_environment_variables_are_resolved_in_the_named_file(tmp_path: Path) -> None:
    """The named file may write os.environ/NAME as LiteLLM's own configuration does; an unset one is a fault."""
    file = tmp_path / "exacto.yaml"
    file.write_text("exacto_settings: {apply_share: os.environ/SHARE, curated: {a: [os.environ/WHO]}}\n")
    settings = settings_of_file(file, {"SHARE": "0.5", "WHO": "moonshotai"})
    assert (settings.apply_share, settings.curated_list("a")) == (0.5, ("moonshotai",))
    with pytest.raises(
        SettingsError, match=r"exacto_settings\.apply_share: expected the environment variable SHARE to be set"
    ):
        settings_of_file(file, {"WHO": "x"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("mode: off\n", "no exacto_settings: block at the top level"),
        ("- a\n", "got a list at the top level, expected a mapping"),
        ("a: [\n", "not valid YAML: expected the node content, but found '<stream end>', line 2, column 1"),
        ("exacto_settings: 5\n", "exacto_settings: got a number, expected a mapping"),
        ("exacto_settings: {mode: x}\n", "exacto_settings.mode: got 'x'"),
    ],
)
def test_a_named_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: str | None, message: str) -> None:
    """A file that was named and does not work is never silently skipped; the message names the file."""
    file = tmp_path / "exacto.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        find_settings(None, {"EXACTO_CONFIG": str(file)})
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _models(field.annotation)


def test_every_setting_says_what_it_is() -> None:
    """The documentation is made from the descriptions, so none may be missing."""
    models: list[type[BaseModel]] = [*_models(Settings), GroupSettings]
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_the_whole_block_is_not_its_content() -> None:
    """The key of the block inside the block is named as such, without the values in it."""
    with pytest.raises(SettingsError, match="give what stands under exacto_settings, without that key") as error:
        load_settings({"exacto_settings": {"mode": "sk-secret"}})
    assert "sk-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("EXACTO_STORE_URL", "the environment variable EXACTO_STORE_URL to be set"),
        ("sk-1234", "the name of an environment variable that is set"),
        ("postgresql://u:secret@h/d", "the name of an environment variable that is set"),
        ("S" * 61, "the name of an environment variable that is set"),
    ],
)
def test_a_variable_that_is_not_set_is_named(written: str, expected: str) -> None:
    """What is no plain name may be a secret."""
    with pytest.raises(SettingsError) as error:
        find_settings({"exacto_settings": {"store": {"url": f"os.environ/{written}"}}}, {})
    assert str(error.value) == f"exacto_settings.store.url: expected {expected}"
