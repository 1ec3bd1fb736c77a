"""What a program asks of its plugin: why, report, flaws, and the facts of an answer."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin import Exacto, ExactoError, SettingsError
from tests.support.proxy.observation import eventually
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from exacto_plugin.demo.provider import SimulatedProviders


def model_list(providers: SimulatedProviders) -> list[dict[str, Any]]:
    """Two deployments of one model, told apart by provider."""
    return [
        {
            "model_name": "kimi",
            "litellm_params": {"model": "openai/k", "api_base": providers.api_base(name), "api_key": "sk-none"},
            "model_info": {"id": name, "provider": f"{name}-ai"},
        }
        for name in ("one", "two")
    ]


def facts(answer: Any) -> dict[str, Any]:
    """What an answer tells of its routing."""
    return dict(answer._hidden_params["exacto"])


def test_an_answer_tells_how_it_was_routed(
    providers: SimulatedProviders, make_exacto: Callable[..., Exacto], loop: asyncio.Runner
) -> None:
    """Whole and streamed, awaited or not; as the headers of the proxy, and nothing where they are turned off."""
    router = litellm.Router(model_list=model_list(providers))
    exacto = make_exacto().attach(router)
    told = facts(loop.run(router.acompletion(model="kimi:floor", messages=MESSAGES, tools=TOOLS)))
    assert told.keys() >= {"policy", "decision", "tier", "deployment", "provider"}
    assert (told["policy"], told["provider"]) == ("price", f"{told['deployment']}-ai")
    told = facts(router.completion(model="kimi", messages=MESSAGES, tools=TOOLS))
    assert (told["policy"], told["tier"]) == ("auto", "insufficient_data")
    stream = router.completion(model="kimi", messages=MESSAGES, tools=TOOLS, stream=True)
    assert facts(stream)["policy"] == "auto"
    for _ in stream:
        pass
    exacto.close()
    quiet = make_exacto(expose={"headers": False}).attach(router)
    answer = router.completion(model="kimi", messages=MESSAGES, tools=TOOLS)
    assert "exacto" not in answer._hidden_params
    quiet.close()


@pytest.mark.parametrize(
    ("settings", "model", "policy"),
    [
        ({"mode": "observe"}, "kimi", "none"),
        ({"mode": "off"}, "kimi", "none"),
        ({"apply_share": 0.0}, "kimi", "none"),
        ({"mode": "off"}, "kimi:floor", "price"),
        ({}, "kimi", "auto"),
    ],
)
def test_an_answer_claims_no_policy_that_was_not_applied(
    providers: SimulatedProviders,
    make_exacto: Callable[..., Exacto],
    loop: asyncio.Runner,
    settings: dict[str, Any],
    model: str,
    policy: str,
) -> None:
    """As the header of the proxy; what the caller asked for is applied in every mode."""
    router = litellm.Router(model_list=model_list(providers))
    make_exacto(**settings).attach(router)
    asked: Any = {"model": model, "messages": MESSAGES, "tools": TOOLS}
    stream = router.completion(**asked, stream=True)
    answers = [router.completion(**asked), loop.run(router.acompletion(**asked)), stream]
    assert [facts(one)["policy"] for one in answers] == [policy] * 3
    for _ in stream:
        pass


def test_a_rescue_is_told(providers: SimulatedProviders, make_exacto: Callable[..., Exacto]) -> None:
    """The deployment that answered, and the one whose answer was replaced."""
    providers.control.behave("one", always="invalid_json")
    router = litellm.Router(model_list=model_list(providers))
    make_exacto(rescue={"enabled": True}).attach(router)
    order = {"order": ["one-ai"]}
    told = facts(router.completion(model="kimi", messages=MESSAGES, tools=TOOLS, provider=order))
    assert (told["deployment"], told["rescued"], told["rescue_attempts"]) == ("two", "one", 1)


def test_why_report_and_flaws(
    providers: SimulatedProviders, make_exacto: Callable[..., Exacto], tmp_path: Path
) -> None:
    """The sentences of the command line, by provider too; the report as its JSON; and what was wrong."""
    providers.control.behave("one", always="invalid_json")
    router = litellm.Router(model_list=model_list(providers))
    exacto = make_exacto(store={"url": f"sqlite:///{tmp_path}/records.sqlite"}).attach(router)
    assert "no verdicts yet" in repr(exacto)
    due = 'recompute() makes verdicts now, the timer at tiers()["next_recompute_at"].'
    assert exacto.why("one") == f"one has no verdict yet: {due}"
    waiting = exacto.tiers()["waiting"]
    assert waiting == [{"model_group": "kimi", "deployment": n, "provider": f"{n}-ai"} for n in ("one", "two")]
    for number in range(12):
        only = {"only": [("one-ai", "two-ai")[number % 2]]}
        router.completion(model="kimi", messages=MESSAGES, tools=TOOLS, provider=only)
    eventually(lambda: exacto.flaws(), {"kimi": {"one": {"invalid_json": 6}}})
    exacto.recompute()
    assert exacto.tiers()["waiting"] == []
    assert "routers=1: 2 insufficient_data" in repr(exacto)
    assert exacto.why("one-ai").startswith("one is not classified yet")
    assert "100.0 % had arguments that are not JSON (invalid_json)" in exacto.why("one", "kimi")
    eventually(lambda: [group["requests"] for group in exacto.report()["model_groups"]], [12])
    with pytest.raises(ExactoError, match=r"there is no deployment 'onee' \(did you mean one\?\)"):
        exacto.why("onee")


def test_a_report_has_every_request(
    providers: SimulatedProviders, make_exacto: Callable[..., Exacto], tmp_path: Path
) -> None:
    """Without waiting: what was counted is written before it is read."""
    exacto = make_exacto(store={"url": f"sqlite:///{tmp_path}/records.sqlite"})
    router = litellm.Router(model_list=model_list(providers))
    exacto.attach(router)
    for number in (1, 2, 3):
        router.completion(model="kimi", messages=MESSAGES, tools=TOOLS)
        exacto.until_scored(number)
        assert [group["requests"] for group in exacto.report()["model_groups"]] == [number]


@pytest.mark.parametrize(
    "times", [{"since": "yesterday"}, {"until": []}, {"since": 20.0, "until": 10.0}, {"since": 9e11}]
)
def test_a_report_takes_times(make_exacto: Callable[..., Exacto], tmp_path: Path, times: dict[str, Any]) -> None:
    """UTC seconds, the first one before the second."""
    with pytest.raises(ExactoError, match=r"^report: (since|until)"):
        make_exacto(store={"url": f"sqlite:///{tmp_path}/records.sqlite"}).report(**times)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda exacto: exacto.why(None), "why: deployment: got null, expected a deployment's id, or its provider"),
        (lambda exacto: exacto.why("one", 5), "why: model_group: got a number, expected the name of a model group"),
        (lambda exacto: exacto.until_scored("a"), "until_scored: answers: got a text, expected a number"),
        (
            lambda exacto: exacto.until_scored(1, None),
            "until_scored: timeout_s: got null, expected a number of sec",
        ),
    ],
)
def test_arguments_of_another_kind_are_refused(
    make_exacto: Callable[..., Exacto], ask: Callable[[Exacto], object], told: str
) -> None:
    """With what is expected, instead of an error from within."""
    with pytest.raises(ExactoError, match=f"^{told}"):
        ask(make_exacto())


def test_a_report_needs_records(make_exacto: Callable[..., Exacto]) -> None:
    """A program keeps none unless it is told to, and the message says how."""
    with pytest.raises(ExactoError, match=r"store.*sqlite:///"):
        make_exacto().report()


def test_a_second_one_replaces_the_first(
    providers: SimulatedProviders, make_exacto: Callable[..., Exacto], caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning; the first one's routers are LiteLLM's own again, and bad settings replace nothing."""
    router = litellm.Router(model_list=model_list(providers))
    first = make_exacto().attach(router)
    with pytest.raises(SettingsError):
        Exacto({"mod": "apply"})
    assert Exacto._active is first
    second = make_exacto()
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "a second Exacto replaces the first one of this process: attach() its routers again" in warnings
    assert Exacto._active is second
    answer = router.completion(model="kimi", messages=MESSAGES, tools=TOOLS)
    assert "exacto" not in answer._hidden_params
    second.attach(router)
    assert facts(router.completion(model="kimi", messages=MESSAGES, tools=TOOLS))["policy"] == "auto"


def test_the_programs_of_the_tutorial_run(
    providers: SimulatedProviders, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are pasted, one after the other; only the addresses are others. They say what the page shows."""
    monkeypatch.chdir(tmp_path)
    tutorial = (Path(__file__).parents[2] / "docs" / "tutorials" / "python.md").read_text(encoding="utf-8")
    routed, recorded, mocked = re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL)
    shown, mock_shown = re.findall(r"```text\n(.*?)```", tutorial, re.DOTALL)
    providers.control.behave("deepinfra", error_rate=0.5)

    def here(found: re.Match[str]) -> str:
        params = {"model": "openai/k", "api_base": providers.api_base(found[1]), "api_key": "sk-none"}
        return f'"litellm_params": {params}, "model_info": {{"id": "{found[1]}", "provider": "{found[1]}"}}'

    routed, replaced = re.subn(r'"litellm_params": \{"model": "([a-z_]+)/[^"]*"\}', here, routed)
    assert replaced == 2
    run: dict[str, Any] = {}

    def told(program: str) -> str:
        exec(compile(program, "python.md", "exec"), run)
        return capsys.readouterr().out

    try:
        found = told(routed)
        for part in (
            "'policy': 'exacto'",
            "deepinfra is deranked in kimi-k2",
            "\ndeepinfra deranked\n",
            "\n<Exacto mode=apply",
        ):
            assert part in found
            assert part in shown
        limits = "probes (up to 2.00 % of the requests with tools, 10.0 % while a trial goes well) provide them"
        assert limits in " ".join(found.split())
        assert limits in " ".join(shown.split())
        assert "'requests': 1.0" in told(recorded)
    finally:
        if "exacto" in run:
            run["exacto"].close()
    assert told(mocked) == mock_shown
