"""The reference says what the code does: pages that follow from it, and names and defaults that are written by hand."""

from __future__ import annotations

import ast
import json
import re
from contextlib import nullcontext
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from exacto_plugin.config.settings import Settings, load_settings
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.provider_object import read_provider
from tests import reference
from tests.support.pages import PAGES, ROOT, inline_code
from tests.support.source_tree import modules, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = PAGES["docs/reference/settings.md"]
PARAMETERS: dict[str, type[AdaptiveParameters | OpenRouterParameters]] = {
    "tiers.adaptive": AdaptiveParameters,
    "tiers.openrouter": OpenRouterParameters,
}
FILES = re.compile(r"\.(py|md|txt|json|jsonl|ya?ml|csv|svg|png|log|sqlite|js|css|html|toml)$")
NOW = [path for path in PAGES if path != "CHANGELOG.md"]
"""Pages on what is there; the changelog names what was, too."""
IN_WORDS = {
    "scoring.lost_calls": "preset's",
    "scoring.empty_arguments": "preset's",
    "store.url": "a file; in a program none",
}
"""Defaults that are explained instead of written, where the model has null."""


@pytest.mark.parametrize("page", reference.PAGES)
def test_written_pages_are_up_to_date(page: str) -> None:
    """`python -m tests.reference` writes what already stands there, up to line breaks."""
    kept = (reference.REFERENCE / page).read_text(encoding="utf-8")
    assert kept.split() == reference.PAGES[page]().split(), "run python -m tests.reference"


def numbers(preset: type[AdaptiveParameters | OpenRouterParameters]) -> list[str]:
    """The names of a preset's numbers."""
    return [field.name for field in fields(preset)]


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as a dotted path, with its default."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from paths(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.get_default(call_default_factory=True)


@pytest.mark.parametrize("path", [path for path, _ in paths(Settings)])
def test_every_setting_is_in_the_reference(path: str) -> None:
    """A setting that nobody can read about does not exist."""
    assert f"`{path}`" in SETTINGS


@pytest.mark.parametrize("name", numbers(OpenRouterParameters))
def test_every_number_of_the_published_rule_is_in_the_reference(name: str) -> None:
    """The numbers are settings too."""
    assert f"`{name}`" in SETTINGS


@pytest.mark.parametrize("name", numbers(AdaptiveParameters))
def test_every_number_of_adaptive_is_in_the_reference_once(name: str) -> None:
    """One list of them, without repetition."""
    listed = SETTINGS.partition("The numbers of `adaptive`, each")[2].partition("\n\n")[0]
    assert listed.count(f"`{name}`") == 1


def test_a_setting_has_one_row() -> None:
    """Two rows of one setting would say different things sooner or later."""
    found = re.findall(r"^\| (`[^|]+`) \|", SETTINGS, re.MULTILINE)
    assert len(found) > 40
    assert [row for row in found if found.count(row) > 1] == []


def rows() -> dict[str, str]:
    """The defaults in docs/reference/settings.md by setting."""
    found: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", SETTINGS, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", names), default.strip())
    return found


@pytest.mark.parametrize(("path", "default"), [pair for pair in paths(Settings) if pair[0] not in PARAMETERS])
def test_defaults_are_those_of_the_model(path: str, default: Any) -> None:
    """A literal is the default; words stand where the model leaves it open."""
    told = rows()[path]
    if not told.startswith("`"):
        assert not default or told == "all" or path == "affinity.session_ids"
        assert told == IN_WORDS.get(path, told)
        return
    loaded = yaml.safe_load(told.strip("`"))
    assert loaded == (default.value if hasattr(default, "value") else default)


@cache
def known_settings() -> frozenset[str]:
    """Every path and its beginnings, numbers of the presets included."""
    whole = [path for path, _ in paths(Settings)]
    whole += [f"{path}.{name}" for path, kind in PARAMETERS.items() for name in numbers(kind)]
    return frozenset(".".join(path.split(".")[:many]) for path in whole for many in range(1, path.count(".") + 2))


@pytest.mark.parametrize("page", NOW)
def test_settings_in_sentences_exist(page: str) -> None:
    """What looks like the path of a setting is one, and a block in a sentence can be used."""
    parts = {path for path in known_settings() if "." not in path} - {"publish"}
    for code in inline_code(PAGES[page]):
        name = code.partition(":")[0].removeprefix("exacto_settings.")
        if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) and name.partition(".")[0] in parts and not FILES.search(name):
            assert name in known_settings(), code
        if code.startswith("exacto_settings: {"):
            load_settings(yaml.safe_load(code)["exacto_settings"])


@cache
def texts_of_the_code() -> frozenset[str]:
    """Every text constant of the package, and the constant parts of composed ones."""
    return frozenset(
        node.value
        for name in modules()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


COMPOSED = ("exacto.reference.", "exacto.observed.", "exacto.signal.", "exacto.routing.", "exacto.deployment.")
"""Beginnings of names that the code composes; tests/test_docs.py compares those of instruments."""


@pytest.mark.parametrize("page", NOW)
def test_telemetry_in_sentences_exists(page: str) -> None:
    """A name of an instrument or attribute is one of the code's."""
    known = texts_of_the_code()
    for code in inline_code(PAGES[page]):
        if re.fullmatch(r"exacto\.[a-z_.]+[a-z]", code) and not FILES.search(code):
            short = code.removeprefix("exacto.")
            assert code in known or short in known or code.startswith(COMPOSED), code


@pytest.mark.parametrize("page", NOW)
def test_headers_in_pages_exist(page: str) -> None:
    """Those of answers are in the reference, which a test compares with the code; there is one of requests."""
    reference_page = PAGES["docs/reference/headers-and-errors.md"]
    told = {one.lower() for one in re.findall(r"`(x-exacto-[a-z-]+)`", reference_page)} | {"x-exacto-metadata"}
    assert {one.lower().rstrip("-") for one in re.findall(r"\bx-exacto-[a-zA-Z-]*[a-z]", PAGES[page])} <= told


SCHEMA = json.loads(reference.provider_schema())
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"only": [], "sort": None},
    {"order": ["a", "b"], "allow_fallbacks": False, "only": ["a"], "ignore": ["d"], "require_parameters": True},
    {"sort": "price", "max_price": {"prompt": 0, "completion": 3.5}},
    {"sort": {"by": "throughput", "partition": "none"}, "quantizations": ["fp8", "unknown"]},
    {"preferred_min_throughput": {"p50": 100, "p90": 50}, "preferred_max_latency": 2, "data_collection": "deny"},
]
REFUSED: list[dict[str, Any]] = [
    {"sort": "luck"},
    {"sorted": "price"},
    {"only": "a"},
    {"only": [""]},
    {"max_price": {"prompt": -1}},
    {"max_price": 1},
    {"zdr": "yes"},
    {"preferred_max_latency": 0},
    {"preferred_min_throughput": {"p95": 1}},
    {"data_collection": "never"},
]


@pytest.mark.parametrize(("provider", "fits"), [(one, True) for one in ACCEPTED] + [(one, False) for one in REFUSED])
def test_the_schema_of_the_provider_object(provider: dict[str, Any], fits: bool) -> None:
    """What it allows is read, and what it does not allow is refused."""
    assert Draft202012Validator(SCHEMA).is_valid(provider) is fits
    with nullcontext() if fits else pytest.raises(ExactoRefusedError):
        read_provider(provider, "g")


def test_the_schema_has_every_field() -> None:
    """Each is in an example that is accepted, and in the page on the object."""
    assert set(SCHEMA["properties"]) - {"zdr"} == {name for one in ACCEPTED for name in one}
    assert {name for name in SCHEMA["properties"] if f"`{name}" not in PAGES["docs/reference/api.md"]} == set()


def test_every_route_is_in_the_reference() -> None:
    """The path of each route stands in a page, and pages name no other."""
    routes = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    told = {
        re.sub(r"\{\w+\}", "{}", one.rstrip("/"))
        for path, text in PAGES.items()
        if path != "CHANGELOG.md"
        for one in re.findall(r"/exacto/api/[a-z{}_/-]+", text)
    }
    # LiteLLM's own UI asks these; they are no API for clients.
    frames = {"/exacto/api/plugin-auth", "/exacto/api/plugin-manifest"}
    assert {re.sub(r"\{\w+\}", "{}", path) for path in routes} == told - frames
