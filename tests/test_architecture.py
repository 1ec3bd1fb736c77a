"""The direction of imports, what the core may know, and where everything may be caught: read from the source."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.support.import_table import ALLOWED, package_of
from tests.support.source_tree import imports, modules, own_imports, reached, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE = "exacto_plugin.core"
CHAIN = (
    {"wire", "lazy", "text_beginnings"},
    {"model"},
    {"routing.policy", "routing.overrides", "scoring.evaluator", "windows.windows", "stats.peers"},
    {"tiers.columns"},
    {"routing.ordering"},
    {"engine.engine"},
)
"""Each of these core modules, with everything that it imports, knows none of a later step."""

KNOWN_TO_CORE = {
    "__future__", "array", "cachetools", "collections", "contextlib", "dataclasses", "enum", "fractions", "functools",
    "graphlib", "heapq", "ipaddress", "itertools", "json", "jsonschema", "jsonschema_rs", "math", "mmap", "numpy",
    "operator", "orjson", "re", "referencing", "threading", "types", "typing", "urllib", "zlib", "bisect", "statistics",
    "hashlib",
}  # fmt: skip
"""No clock, no files (``mmap`` is for memory), no network, no logging, and none of the frameworks around it."""

PROGRAMS = ("__main__", "cli", "demo", "simulate", "bench", "text_tables")
"""What people start; nothing that serves requests knows of it."""

WEB = frozenset({"fastapi", "jinja2", "starlette", "uvicorn"})
"""Come with LiteLLM's proxy extra."""

WITHOUT_THE_PROXY = tuple(
    f"exacto_plugin.{name}"
    for name in ("litellm_hooks.callback", "litellm_hooks.sdk", "cli.check_config", "cli.doctor")
)
"""What programs and people load where no proxy is installed."""

COMPOSITION_ROOT = "exacto_plugin.litellm_hooks.runtime.runtime"
"""Builds the parts of one process's plugin."""

MOST_IMPORTERS = 6
"""Most modules that know the composition root; every other one is given the parts that it uses."""

BOUNDARIES = {
    # Clients choose schemas and models choose arguments; a panic inside the Rust engine is a BaseException.
    "core.scoring.evaluator:Evaluator.evaluate",
    # The boundary to LiteLLM and ASGI: nothing of ours may break a request.
    "litellm_hooks.faults:FaultReporter.guard",
    "litellm_hooks.faults:fail_open.decorate.guarded",
    # Counting a fault must not make another one.
    "litellm_hooks.faults:FaultReporter.report",
    # LiteLLM's client raises exceptions of its own and of several libraries; after three attempts the last is counted.
    "litellm_hooks.monitoring.alert_channels:AlertChannels._to_webhook",
    # LiteLLM raises a bare Exception for a model that its price list does not know.
    "litellm_hooks.deployments.prices:_looked_up",
    # The traceback of an unexpected error is printed without control characters, as all output is.
    "cli.command:main",
    # PyYAML raises whatever a value made Python raise.
    "config.yaml_text:parse_yaml",
    # The timer must outlive whatever one recompute meets.
    "litellm_hooks.runtime.recompute:Recomputer.recompute_timed",
    # The store's thread must outlive whatever happens in it; whoever waits for an answer is told.
    "store.worker:WorkerThread._run_one",
    "store.worker:WorkerThread._run_idle",
    # LiteLLM refuses a selection with an exception of its own, of one of many types.
    "litellm_hooks.routing.dry_run:_healthy",
    # A fault of a selection ends in LiteLLM's own choice, which has to be counted as well.
    "litellm_hooks.routing.early_pool:EarlyPool.choose",
    # What the asynchronous hook raises, LiteLLM itself catches and tells its router; here nobody else does.
    "litellm_hooks.compiled.sync_patches:_patch_select.answered",
    # A stream that broke may not close in good order either.
    "litellm_hooks.routing.failover:_closed",
    # An error inside an answer, which is raised again where no other deployment answers:
    "litellm_hooks.rescue.rescue:AnswerRescue.attempt",
    "litellm_hooks.rescue.streams:BufferedStream._run",
    "litellm_hooks.rescue.streams:BufferedSyncStream._run",
    # Raised again where somebody waits for it, in another thread.
    "litellm_hooks.background:run_in_thread.run",
}
"""The only places that catch everything without raising it again."""


CORE_MODULES = [name for name in modules() if name.startswith(f"{CORE}.")]


@pytest.mark.parametrize("name", CORE_MODULES)
def test_the_core_knows_nothing_around_it(name: str) -> None:
    """No LiteLLM, web framework, telemetry, clock, file or logger, and nothing of ours outside the core."""
    others = {found.name for found in imports(name)}
    assert {other.partition(".")[0] for other in others} - {"exacto_plugin"} <= KNOWN_TO_CORE
    assert [other for other in others if other.startswith("exacto_plugin") and not other.startswith(CORE)] == []


def test_the_core_is_a_chain() -> None:
    """wire <- steps, pace <- model <- policy, evaluation, window <- tiers <- ordering <- engine, by any import."""
    for step, names in enumerate(CHAIN):
        later = {f"{CORE}.{other}" for names in CHAIN[step + 1 :] for other in names}
        for name in names:
            assert reached(f"{CORE}.{name}") & later == set(), name
    assert not reached(f"{CORE}.wire")
    assert reached(f"{CORE}.model") == {f"{CORE}.{name}" for name in ("pace", "steps", "wire", "flaw_kinds")}


@pytest.mark.parametrize("name", WITHOUT_THE_PROXY)
def test_programs_need_no_web_framework(name: str) -> None:
    """LiteLLM without its proxy extra has none, and is what `pip install` of the package alone brings."""
    loaded = {name} | reached(name, at_start=True)
    needed = {(one, found.name) for one in loaded for found in imports(one) if found.at_start}
    assert {pair for pair in needed if pair[1].split(".")[0] in WEB or pair[1].startswith("litellm.proxy.")} == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    """Imports of every kind, for typing and inside functions too."""
    assert {name for name in modules() if name in reached(name)} == set()


def test_few_modules_know_the_composition_root() -> None:
    """A part that is given the root could use every other part; entry points and the API build theirs from it."""
    importers = {name for name in modules() if COMPOSITION_ROOT in own_imports(name)}
    assert importers
    assert len(importers) <= MOST_IMPORTERS, importers
    assert {package_of(name) for name in importers} <= {"entry", "web"}


def test_packages_import_what_the_table_allows() -> None:
    """The direction of imports, package by package; without exceptions."""
    against = {
        (name.removeprefix("exacto_plugin."), other.removeprefix("exacto_plugin."))
        for name in modules()
        for other in own_imports(name)
        if package_of(name) != package_of(other) and package_of(other) not in ALLOWED[package_of(name)]
    }
    assert against == set()


@pytest.mark.parametrize("name", [name for name in modules() if name.split(".")[1:2] not in ([p] for p in PROGRAMS)])
def test_what_serves_knows_no_program(name: str) -> None:
    """core <- seam and adapters <- programs: the command line, the demonstration and the like stand outside."""
    programs = tuple(f"exacto_plugin.{program}." for program in PROGRAMS)
    assert [found.name for found in imports(name) if f"{found.name}.".startswith(programs)] == []


OLD_EVENTS = {"telemetry.events": ["opentelemetry.sdk._events"]}
"""Before 1.35 only the SDK makes events out of the log provider that LiteLLM sets; only alerts are events."""


def test_only_the_api_of_opentelemetry_is_used() -> None:
    """Who measures is the operator's choice: no SDK is imported and no global provider is set."""
    for name in modules():
        found = [one.name for one in imports(name) if one.name.startswith("opentelemetry.sdk")]
        assert found == OLD_EVENTS.get(name.removeprefix("exacto_plugin."), [])
        called = {ast.unparse(node.func) for node in ast.walk(tree(name)) if isinstance(node, ast.Call)}
        assert not [one for one in called if one.endswith(("set_meter_provider", "set_tracer_provider"))]


def _broad(node: ast.AST) -> bool:
    """Whether this catches everything and keeps it."""
    if isinstance(node, ast.ExceptHandler):
        kinds = {"bare"} if node.type is None else set(ast.unparse(node.type).strip("()").replace(" ", "").split(","))
        again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        caught_all = bool(kinds & {"bare", "Exception", "BaseException"})
        # Whoever catches a BaseException may pass all but some of it on; that it keeps some is what counts.
        return caught_all and not again
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return bool({ast.unparse(argument) for argument in node.args} & {"Exception", "BaseException"})
    return False


def _places(node: ast.AST, path: str = "") -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inner = f"{path}.{child.name}".lstrip(".") if named else path  # type: ignore[attr-defined]
        if _broad(child):
            yield path
        yield from _places(child, inner)


def test_everything_is_caught_in_few_places() -> None:
    """What catches all errors is named here, each with its reason, and nothing else does."""
    found = [f"{name.removeprefix('exacto_plugin.')}:{place}" for name in modules() for place in _places(tree(name))]
    assert sorted(found) == sorted(BOUNDARIES)


def test_tables_are_printed_in_one_place() -> None:
    """Data in cells and titles is never taken for markup, since nobody makes a console that would take it for that."""
    makers = {
        name
        for name in modules()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Console"
    }
    assert makers == {"exacto_plugin.text_tables", "exacto_plugin.demo.run"}  # the demo's data is its own
