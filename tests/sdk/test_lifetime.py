"""The one plugin of a process: attached, closed, replaced, and taken out again."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin import Exacto, ExactoError, UnknownNameError
from tests.sdk.test_program import facts, model_list
from tests.support.proxy.observation import eventually
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.sdk.conftest import Program

    MakeExacto = Callable[..., Exacto]

USES: dict[str, Callable[[Exacto, litellm.Router], object]] = {
    "attach": lambda exacto, router: exacto.attach(router),
    "recompute": lambda exacto, _: exacto.recompute(),
    "until_scored": lambda exacto, _: exacto.until_scored(0),
    "why": lambda exacto, _: exacto.why("one"),
    "report": lambda exacto, _: exacto.report(),
    "with": lambda exacto, _: exacto.__enter__(),
}
"""What a plugin that is no longer the process's own cannot do."""

READINGS: dict[str, Callable[[Exacto, litellm.Router], object]] = {
    "tiers": lambda exacto, _: exacto.tiers(),
    "flaws": lambda exacto, _: exacto.flaws(),
}
"""The numbers that a closed one still has."""


def scored(exacto: Exacto, program: Program, answers: int) -> bool:
    """Whether so many answers are scored soon."""
    program.idle()
    return exacto.until_scored(answers, timeout_s=0.05)


def ask(router: litellm.Router) -> Any:
    """One answer with tools."""
    return router.completion(model="kimi", messages=MESSAGES, tools=TOOLS)


@pytest.mark.parametrize("use", USES)
def test_a_closed_one_refuses_use(providers: SimulatedProviders, make_exacto: MakeExacto, use: str) -> None:
    """It says so and starts nothing; its numbers stay readable."""
    router = litellm.Router(model_list=model_list(providers))
    exacto = make_exacto().attach(router)
    exacto.recompute()
    last = exacto.tiers()
    exacto.close()
    with pytest.raises(ExactoError, match="this Exacto is closed: make a new one"):
        USES[use](exacto, router)
    assert "exacto" not in ask(router)._hidden_params
    assert repr(exacto) == "<Exacto closed>"
    assert exacto._runtime.timer.loop_thread._thread is None or not exacto._runtime.timer.loop_thread._thread.is_alive()
    assert exacto.tiers()["snapshot"] == last["snapshot"]
    assert exacto.flaws() == {}


@pytest.mark.parametrize("use", USES | READINGS)
def test_a_replaced_one_refuses_use(providers: SimulatedProviders, make_exacto: MakeExacto, use: str) -> None:
    """Nothing is scored in the name of another."""
    router = litellm.Router(model_list=model_list(providers))
    first = make_exacto().attach(router)
    second = make_exacto()
    with pytest.raises(ExactoError, match="another Exacto of this process replaced this one"):
        (USES | READINGS)[use](first, router)
    assert "exacto" not in ask(router)._hidden_params
    assert repr(first) == "<Exacto replaced>"
    assert "routers=0" in repr(second)


def test_a_replaced_one_takes_nothing_away(
    providers: SimulatedProviders, make_exacto: MakeExacto, either: Program
) -> None:
    """Its late end leaves the routers of the new one attached."""
    router = litellm.Router(model_list=model_list(providers))
    with make_exacto().attach(router) as first:
        second = make_exacto().attach(router)
        first.detach(router)
        assert facts(ask(router))["policy"] == "auto"
    first.close()
    assert facts(ask(router))["policy"] == "auto"
    either.ask(router, "kimi")
    eventually(lambda: scored(second, either, 3), True)
    assert "routers=1" in repr(second)
    assert second._callback in litellm.callbacks


@pytest.mark.parametrize(("given", "told"), [("x", "str"), (None, "NoneType"), ([], "list"), (litellm.Router, "type")])
def test_only_a_router_is_attached(make_exacto: MakeExacto, given: Any, told: str) -> None:
    """Anything else is named."""
    exacto = make_exacto()
    with pytest.raises(ExactoError, match=f"^attach: got {told}, expected a litellm.Router$"):
        exacto.attach(given)
    assert "routers=0" in repr(exacto)


def test_settings_of_unknown_groups_are_told(
    providers: SimulatedProviders, make_exacto: MakeExacto, caplog: pytest.LogCaptureFixture
) -> None:
    """At attach, with the similar name, until a router has the group."""
    exacto = make_exacto(curated={"kimy": ["one"], "kimi": ["one"]}, model_groups={"glm": {"mode": "off"}})
    exacto.attach(litellm.Router(model_list=model_list(providers)))

    def told() -> list[str]:
        found = [one.getMessage() for one in caplog.records if "model_name" in one.getMessage()]
        caplog.clear()
        return found

    assert told() == [
        "exacto_settings.curated.kimy: no such model_name in model_list (did you mean kimi?) (so far, of the attached"
        " routers)",
        "exacto_settings.model_groups.glm: no such model_name in model_list; there are kimi (so far, of the"
        " attached routers)",
    ]
    wild = [{**one, "model_name": name} for one, name in zip(model_list(providers), ("kimy", "g*"), strict=True)]
    exacto.attach(litellm.Router(model_list=wild))
    assert told() == []


def test_scoring_is_waited_for(providers: SimulatedProviders, make_exacto: MakeExacto, either: Program) -> None:
    """Answers of every kind, failures too; and a time that is over is told."""
    router = litellm.Router(model_list=model_list(providers), num_retries=0, disable_cooldowns=True)
    exacto = make_exacto().attach(router)
    providers.control.behave("one", always="invalid_json")
    providers.control.behave("two", always=500)
    for name in ("one", "two", "one"):
        try:
            either.ask(router, name)
        except litellm.InternalServerError:
            assert name == "two"
    eventually(lambda: scored(exacto, either, 3), True)
    assert exacto.flaws()["kimi"]["one"] == {"invalid_json": 2}
    assert {one["deployment"] for one in exacto.tiers()["model_groups"][0]["deployments"]} == {"one", "two"}
    assert not exacto.until_scored(4, timeout_s=0.05)


def test_nothing_is_known_yet(make_exacto: MakeExacto) -> None:
    """A program is told what it can do itself."""
    with pytest.raises(UnknownNameError, match=r"no router with deployments is attached.*recompute\(\)") as error:
        make_exacto().why("one")
    assert "doctor" not in str(error.value)


HELP = """
import exacto_plugin, pydoc
print(dir(exacto_plugin))
print(pydoc.plain(pydoc.render_doc(exacto_plugin)))
from exacto_plugin.litellm_hooks.proxy import proxy_callback
assert not proxy_callback.cache_info().currsize
"""
DIRECT = """
import litellm
from exacto_plugin import Exacto, ExactoError
def refused(make):
    try:
        make()
    except ExactoError as error:
        print(error)
    else:
        raise AssertionError
direct = exacto_plugin.callback
litellm.callbacks = [direct]
refused(Exacto)
litellm.completion(model='gpt-4o', messages=[{'role': 'user', 'content': 'x'}], mock_response='y')
litellm.callbacks = []
exacto = Exacto()
lists = (litellm.callbacks, litellm.success_callback, litellm.input_callback, litellm.failure_callback)
assert not any(direct is one for found in lists for one in found)
assert exacto._callback in litellm.callbacks and direct.context.closed
refused(lambda: exacto_plugin.callback)
exacto.close()
assert exacto_plugin.callback is not direct
"""
BETWEEN = "-- a callback is made from here on --"


@pytest.fixture(scope="module")
def told() -> tuple[str, str]:
    """What a program says of the package, and when its callback is made and given up: one process, which takes seconds.

    Both need a process in which nobody asked for the callback yet.
    """
    code = f"{HELP}print({BETWEEN!r})\n{DIRECT}"
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    described, _, later = ran.stdout.partition(BETWEEN)
    return described, later + ran.stderr


def test_the_callback_of_direct_calls_can_be_given_up(told: tuple[str, str]) -> None:
    """Out of ``litellm.callbacks`` it makes room for an ``Exacto``, and the other way round after ``close()``."""
    _, said = told
    assert "remove it from litellm.callbacks, then make an Exacto" in said
    assert "an Exacto replaces exacto_plugin.callback, which is not in litellm.callbacks" in said
    assert "close() it, then read exacto_plugin.callback" in said


def test_help_lists_the_names(told: tuple[str, str]) -> None:
    """Also those that are loaded on first use; listing them puts nothing into LiteLLM."""
    listed, _, described = told[0].partition("\n")
    assert "'Any'" not in listed
    for name in ("Exacto", "ExactoRefusedError", "ExactoError", "UnknownNameError"):
        assert repr(name) in listed
        assert f"class {name}(" in described
