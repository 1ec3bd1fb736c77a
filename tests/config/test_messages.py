"""What is told of a configuration that cannot be used: keys, places and what was expected, none of its secrets."""

from __future__ import annotations

import copy
import re
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exacto_plugin.cli.command import main
from exacto_plugin.config import sources
from exacto_plugin.config.diff import redacted
from exacto_plugin.config.settings import Settings, load_settings
from exacto_plugin.config.sources import settings_of_file
from exacto_plugin.config.yaml_text import parse_yaml
from exacto_plugin.core.routing.filters import BLOCK as CALLER_BLOCK
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.proxy_settings import proxy_settings
from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.simulate.scenario import read_scenario
from exacto_plugin.store.location import location_of_url
from tests.config.test_diff import server, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CANARY = "Canary7f3a"

LIMITS: dict[str, Any] = {
    "only": ["a"],
    "ignore": ["b"],
    "max_price": {"prompt": 1, "completion": 2},
    "quantizations": ["fp8"],
    "data_collection": "deny",
    "zdr": True,
}
BLOCK: dict[str, Any] = {
    **LIMITS,
    "mode": "apply",
    "apply_share": 0.5,
    "default_sort": "auto",
    "curated": {"kimi": ["a"]},
    "model_groups": {"kimi": {**LIMITS, "mode": "observe", "apply_share": 1, "default_sort": "price"}},
    "client_preferences": "deny",
    "expose": {"headers": True, "providers": True, "variants": False},
    "exploration": {"share": 0.1},
    "affinity": {"enabled": True, "idle_s": 60},
    "failover": {"max_attempts": 3},
    "rescue": {"enabled": True, "max_attempts": 2, "max_extra_seconds": 5, "streams": True},
    "scoring": {"engine": "auto", "empty_arguments": "empty_object", "lost_calls": ["leaked_markup"]},
    "store": {
        "url": "sqlite://",
        "retention_days": 30,
        "retention": {"hours": 90},
        "decision_share": 0.1,
        "outcomes": "/nowhere",
        "outcomes_mb": 10,
    },
    "redis": {"enabled": True, "url": "redis://h", "namespace": "n"},
    "tiers": {
        "preset": "adaptive",
        "recompute_interval_s": 60,
        "adaptive": {"peer_cap": 0.05, "propensity_deranks": False},
        "openrouter": {"min_peers": 4, "tool_call_window_s": 7200.0},
    },
}
"""Every setting; of the rules, whose numbers are all alike, two each."""

ENUMS = {"mode", "default_sort", "client_preferences", "engine", "empty_arguments", "lost_calls", "preset"}
ENUMS |= {"data_collection"}

WRONG: dict[str, Any] = {
    "text": CANARY,
    "key": f"sk-{CANARY}",
    "address": f"http://u:{CANARY}@h/d",
    "redis": f"redis://:{CANARY}@h/0",
    "database": f"postgresql://u:{CANARY}@h/d",
    "variable": f"os.environ/{CANARY}",
    "list": [CANARY],
    "mapping": {"a": CANARY},
    "deep": [{"a": [{CANARY: CANARY}]}],
    "number": 79137913,
}
"""What may stand where it does not belong. The number is as secret as the rest: a code, in place of a name."""

Path_ = tuple[str | int, ...]


def test_every_setting_is_among_them() -> None:
    """Else something would not be looked at."""
    rules = ("tiers.adaptive.", "tiers.openrouter.")
    have = set(redacted(Settings.model_validate(BLOCK)))
    assert {path for path in redacted(Settings()) if not path.startswith(rules)} <= have | {"max_price"}


def places(block: Any, above: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every place of a block with what stands there, parts and lists included."""
    for step, value in block.items() if isinstance(block, dict) else enumerate(block):
        path = (*above, step)
        yield path, value
        if isinstance(value, dict | list):
            yield from places(value, path)


def replaced(path: Path_, wrong: Any) -> dict[str, Any]:
    """The block with something else at one place."""
    block: Any = copy.deepcopy(BLOCK)
    at = block
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = wrong
    return dict(block)


def everything_of(error: BaseException) -> str:
    """What an error, whatever it came from or was raised beside, and their tracebacks say."""
    parts = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None:
            one.__suppress_context__ = False
            parts += [str(one), repr(one), *traceback.format_exception(one)]
            waiting += [one.__cause__, one.__context__]
    return "\n".join(parts)


def fault_of(action: Callable[[], object]) -> str:
    """The same of what ``action`` raises; empty when it raises nothing."""
    try:
        action()
    except SettingsError as error:
        return everything_of(error)
    return ""


def may_be_told(path: Path_, value: Any, wrong: Any) -> bool:
    """Whether a scalar stands where an enum, a number or a boolean belongs."""
    name = next(step for step in reversed(path) if isinstance(step, str))
    if name in ENUMS:
        return wrong in (CANARY, [CANARY]) if isinstance(value, list) else wrong == CANARY or isinstance(wrong, int)
    return isinstance(value, bool | int | float) and (wrong == CANARY or isinstance(wrong, int))


@pytest.fixture
def _parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was parsed last is not parsed again, which takes most of the time: each text here is read four times."""
    last: dict[str, object] = {}

    def parsed(text: str, where: str) -> object:
        if text not in last:
            last.clear()
            last[text] = parse_yaml(text, where)
        return copy.deepcopy(last[text])

    monkeypatch.setattr(sources, "parse_yaml", parsed)


@pytest.mark.usefixtures("_parsed_once")
@pytest.mark.parametrize("kind", WRONG)
def test_no_value_is_told(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """At no place of the block: not in the error and its traceback, the log, the status, nor by ``check-config``."""
    wrong = WRONG[kind]
    secret = str(wrong) if isinstance(wrong, int) else CANARY
    config = {"model_list": [{"model_name": "kimi", "litellm_params": {"model": "openai/k", "api_key": CANARY}}]}
    file = written(tmp_path / "config.yaml", yaml.safe_dump(config))
    runtime = Runtime(Settings.model_validate(BLOCK), reload_settings=proxy_settings(server(file), {}))
    refused = 0
    for number, (path, value) in enumerate(places(BLOCK)):
        if may_be_told(path, value, wrong):
            continue
        text = yaml.safe_dump({**config, "exacto_settings": replaced(path, wrong)})
        written(file, text + "#" * number)
        error = fault_of(lambda: settings_of_file(file, {}))
        refused += bool(error)
        assert secret not in error, path
        runtime.settings_reload.apply_changes()
        main(["check-config", str(file)])
        assert secret not in "".join(capsys.readouterr()), path
        assert secret not in str(runtime.settings_reload.view()), path
        assert secret not in caplog.text, path
        caplog.clear()
    assert refused > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"mode: {CANARY}", f"mode: got '{CANARY}', expected one of"),
        (f"apply_share: {CANARY}", f"apply_share: got '{CANARY}', expected a number"),
        (f"expose: {{headers: {CANARY}}}", f"headers: got '{CANARY}', expected true or false"),
        ("mode: " + "x" * 99, "mode: got '" + "x" * 39 + "..., expected"),
        (f"mode: sk-{CANARY}", "mode: got a text, expected one of"),
        (f"apply_share: 'https://h/?key={CANARY}'", "apply_share: got a text, expected a number"),
        (f"mode: [{CANARY}]", "mode: got a list, expected one of"),
        ("redis: {url: 'localhost:6379'}", "redis.url: expected an address that begins with redis://"),
        ("redis: {namespace: 'a b'}", "redis.namespace: expected a text of the form"),
        ("redis: {namespace: true}", "redis.namespace: got a boolean, expected a text"),
        ("store: {outcomes: 2026-01-01}", "store.outcomes: got a date, expected a text"),
        (f"'redis://:{CANARY}@h/0': null", 'exacto_settings["***"]: unknown key'),
        ("y" * 99 + ": 1", 'exacto_settings["' + "y" * 60 + '..."]: unknown key'),
        (f"tiers: {{adaptive: {{'sk-{CANARY} x': true}}}}", 'tiers.adaptive["***"]: unknown key'),
        ("curated: &c {a: *c}", "nested too deeply, or contains itself"),
        ("model_groups: &g {a: [*g]}", "nested too deeply, or contains itself"),
    ],
)
def test_what_is_told_instead(tmp_path: Path, text: str, message: str) -> None:
    """The kind of what was written; a value only where an enum, a number or a boolean belongs, and then a short one."""
    with pytest.raises(SettingsError) as raised:
        settings_of_file(written(tmp_path / "e.yaml", yaml.safe_dump({"x": 1}) + f"exacto_settings: {{{text}}}"), {})
    assert message in str(raised.value)


BROKEN = {
    "mapping": "master_key: sk-{}: x",
    "quote": "api_key: 'sk-{}",
    "list": "keys: [sk-{}",
    "scalar": "api_key: 'sk-'{}",
    "token": "api_key: @{}",
    "alias": "api_key: *{}",
    "anchors": "a: &{0} 1\nb: &{0} 2",
    "tag": "api_key: !{} x",
    "quoted tag": "api_key: !it's-'{} x",
    "integer": "api_key: !!int {}",
    "boolean": "api_key: !!bool {}",
    "date": "api_key: !!timestamp {}",
    "date that is none": "{}: 2026-99-99",
    "escape": 'api_key: "{}\\z"',
    "character": "api_key: {}\x01",
    "code point": 'api_key: "{}\\U00110000"',
    "directive": "%{}",
    "documents": "a: {0}\n---\nb: {0}",
    "indentation": "- {0}\na: {0}",
    "key": "{{[{}]: 1}}",
    "binary": "a: !!binary {}é",
    "levels": "a: " + "[" * 600,
}
"""Texts that are not YAML, or whose values cannot be made, with a secret in the line that an error would quote."""


@pytest.mark.parametrize("above", [0, 3])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_yaml_is_not_quoted(
    tmp_path: Path, kind: str, above: int, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kind of fault and its place are told: in the error, the log, the status and on the command line."""
    file = written(tmp_path / "config.yaml", "{}")
    runtime = Runtime(Settings(), reload_settings=proxy_settings(server(file), {}))
    runtime.settings_reload.problem = "an older one"
    written(file, "".join(f"k{line}: {CANARY}\n" for line in range(above)) + BROKEN[kind].format(CANARY))
    with pytest.raises(SettingsError) as raised:
        settings_of_file(file, {})
    assert CANARY not in everything_of(raised.value)
    runtime.settings_reload.apply_changes()
    problem = str(runtime.settings_reload.problem)
    assert "config.yaml: not valid YAML: " in problem
    assert kind == "levels" or f"line {above + 1}" in problem or f"line {above + 2}" in problem or "line 1" in problem
    assert main(["check-config", str(file)]) == 2
    with pytest.raises(SettingsError) as scenario:
        read_scenario(file)
    everything = (problem, caplog.text, *capsys.readouterr(), everything_of(scenario.value))
    assert CANARY not in "\n".join(everything)


def test_the_place_of_a_fault() -> None:
    """Line and column as editors count them, and PyYAML's words where they quote nothing but the grammar."""
    for text, told_of_it in (
        ("a: 1\nb: c: d", "mapping values are not allowed here, line 2, column 5"),
        ("a:\n  b: 'c' d", "expected <block end>, but found '<scalar>', line 2, column 10"),
        ("a: *bc", "found undefined alias, line 1, column 4"),
        ("\na: !!int b", "a value that cannot be read, line 2, column 4"),
        ("a: 1\nb: 2\nc: \x01", "a character that YAML does not allow, line 3"),
    ):
        with pytest.raises(SettingsError) as raised:
            parse_yaml(text, "f")
        assert str(raised.value) == f"f: not valid YAML: {told_of_it}"


def test_an_included_file_is_not_quoted_either(tmp_path: Path) -> None:
    """LiteLLM's own error of a part quotes its line."""
    file = written(tmp_path / "config.yaml", "include: [part.yaml]")
    part = written(tmp_path / "part.yaml", "{}")
    changed = proxy_settings(server(file), {})
    written(part, f"master_key: sk-{CANARY}: x")
    with pytest.raises(SettingsError, match=r"part\.yaml: not valid YAML: .*, line 1, column") as raised:
        changed()
    assert CANARY not in everything_of(raised.value)


def test_whatever_goes_wrong_becomes_the_problem() -> None:
    """An older one would tell of something that was mended; what nobody thought of is told by its kind."""

    def reload() -> Settings | None:
        raise KeyError(CANARY)

    runtime = Runtime(Settings(), reload_settings=reload)
    runtime.settings_reload.problem = "an older one"
    with pytest.raises(KeyError):
        runtime.settings_reload.apply_changes()
    assert runtime.settings_reload.problem == "the configuration cannot be read (KeyError)"


@pytest.mark.parametrize(
    "url",
    [
        CANARY,
        f"{CANARY}://x",
        f"mysql://u:{CANARY}@h/d",
        f"postgresql://u:p@h:{CANARY}/d",
        f"postgresql://u:{CANARY}@h/d",
        f"postgresql://u:p@{CANARY}@h/d",
        f"postgresql://u:p@x/{CANARY}@h/d",
        f"postgresql://u:p@h/d?password={CANARY}",
    ],
)
def test_no_store_is_called_by_its_password(url: str) -> None:
    """Nor by half of one, where it has a character that a URL takes for its own."""
    assert CANARY not in (fault_of(lambda: location_of_url(url)) or location_of_url(url).name)


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", ["only", "ignore", "max_price", "quantizations", "other"])
def test_metadata_of_callers_is_not_quoted(kind: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What stands in the metadata of keys and teams was written for somebody else."""
    callers = KeyDefaults(FaultReporter(lambda _: None))
    wrong = WRONG[kind]
    for value in (wrong, {"prompt": [wrong]}, [wrong, 1]):
        callers.of({"metadata": {"user_api_key_metadata": {CALLER_BLOCK: {name: value}}}})
    callers.of({"metadata": {"user_api_key_metadata": {CALLER_BLOCK: wrong}}})
    assert re.search(r"caller_(metadata|limits) failed with SettingsError: exacto", caplog.text)
    assert str(wrong if isinstance(wrong, int) else CANARY) not in caplog.text


def test_an_api_base_that_is_none_is_not_quoted() -> None:
    """Python's error about a host would quote user and password."""
    entry = {"model_name": "g", "litellm_params": {"model": "openai/m", "api_base": f"http://u:{CANARY}℀@h"}}
    assert CANARY not in str(candidate_of(entry))


def test_entries_of_the_model_list_are_told_by_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``check-config`` goes on with those that it can read."""
    entries = [CANARY, {"model_name": "k", "litellm_params": CANARY}, {"model_name": [CANARY], "litellm_params": {}}]
    entries += [{"model_name": "k", "litellm_params": {"model": "openai/k"}, "model_info": CANARY}]
    config = {"model_list": entries, "litellm_settings": {"callbacks": ["exacto_plugin.callback"]}}
    file = written(tmp_path / "config.yaml", yaml.safe_dump(config))
    assert main(["check-config", str(file)]) == 1
    shown = capsys.readouterr().out
    for problem in (
        "model_list[0]: got a text, expected a mapping",
        "model_list[1].litellm_params: got a text, expected a mapping",
        "model_list[2].model_name: got a list, expected a text",
        "model_list[3].model_info: got a text, expected a mapping",
    ):
        assert f"problem: {problem}" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{mode: on}", "mode: got true, expected one of apply, observe, off (YAML reads on and yes as true)"),
        ("{apply_share: 25%}", "apply_share: got '25%', expected a number, e.g. 0.25"),
        ("{apply_share: 25}", "apply_share: got 25, expected at most 1.0, e.g. 0.25 for 25 %"),
        ("{tiers: {recompute_interval_s: 5m}}", "got '5m', expected a number of seconds, e.g. 300"),
        ("{rescue: true}", "rescue: got a boolean, expected a mapping, e.g. rescue: {enabled: true}"),
        ("{max_price: 0.1}", "got a number, expected a mapping, e.g. max_price: {prompt: 1.0, completion: 4.0}"),
        ("{curated: {kimi: fireworks}}", "curated.kimi: got a text, expected a list, written like [a, b]"),
        ("{redis: {url: 'localhost:6379'}}", "expected an address that begins with redis://"),
    ],
)
def test_a_remedy_where_one_helps(block: str, told: str) -> None:
    """How the value is written instead."""
    with pytest.raises(SettingsError) as error:
        load_settings(yaml.safe_load(block))
    assert told in str(error.value)
