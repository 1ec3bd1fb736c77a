"""What is there is documented, and what is documented works."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from pydantic import BaseModel

from exacto_plugin.cli import command
from exacto_plugin.cli.check_config import check_config
from exacto_plugin.config.settings import Settings, load_settings
from exacto_plugin.config.sources import settings_of_file
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Tier
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.litellm_hooks.http.answer_facts import answer_facts
from exacto_plugin.litellm_hooks.request.attempts import Attempt, RescueProgress
from exacto_plugin.litellm_hooks.request.routing_state import RoutingState
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.telemetry import Telemetry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def setting_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every setting as a dotted path."""
    paths = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            paths += setting_paths(inner, f"{prefix}{name}.")
        else:
            paths.append(f"{prefix}{name}")
    return paths


@pytest.mark.parametrize("path", setting_paths(Settings))
def test_every_setting_is_in_the_readme(path: str) -> None:
    """A setting that nobody can read about does not exist."""
    assert f"`{path}`" in README


@pytest.mark.parametrize("name", [field.name for field in fields(OpenRouterParameters)])
def test_every_number_of_the_published_rule_is_in_the_readme(name: str) -> None:
    """The numbers are settings too."""
    assert f"`{name}`" in README


def test_every_header_is_in_the_readme() -> None:
    """Whatever the middleware may send is explained."""
    first, second = (Attempt(Candidate(LiteLLMId(key), DeploymentKey(key), "p"), "g", Tier.DERANKED) for key in "ab")
    state = RequestState(attempts=[first, second], routing=RoutingState(Policy(), snapshot_id="s"))
    state.rescue = RescueProgress(first, answered_by=second, attempts=1, extra_cost=1.0)
    headers = {f"x-exacto-{name}" for name in answer_facts(state, names=True)}
    assert len(headers) == 9
    assert {header for header in headers if f"`{header}`" not in README} == set()


class _NamesOfInstruments(MeterProvider):
    """A meter provider whose meter remembers which instruments were made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def get_meter(self, *options: Any, **more: Any) -> Any:
        meter = super().get_meter(*options, **more)
        for kind in ("counter", "histogram", "observable_gauge", "observable_up_down_counter"):
            setattr(meter, f"create_{kind}", self._remembering(getattr(meter, f"create_{kind}")))
        return meter

    def _remembering(self, create: Any) -> Any:
        def remembered(name: str, *options: Any, **more: Any) -> Any:
            self.names.append(name)
            return create(name, *options, **more)

        return remembered


def test_every_metric_is_in_the_readme() -> None:
    """The instruments are asked for their names, so that a new one cannot be forgotten."""
    provider = _NamesOfInstruments()
    Telemetry(Runtime(load_settings(None)).metrics, provider)
    assert len(provider.names) > 15
    forgotten = set()
    for name in provider.names:
        *family, last = name.split(".")
        if name not in README and not (family[:2] == ["exacto", "signal"] and f".{last}`" in README):
            forgotten.add("exacto.reference.*" if family[:2] == ["exacto", "reference"] else name)
    assert forgotten <= {"exacto.reference.*"}
    assert "`exacto.reference.<signal>.median`, `.mad`, `.threshold`" in README


def test_every_verb_is_in_the_readme() -> None:
    """The command line as it is, not as it was."""
    (verbs,) = [a for a in command._parser()._actions if a.dest == "verb"]
    assert verbs.choices
    assert {verb for verb in verbs.choices if f"exacto {verb}" not in README} == set()


def test_the_ten_lines_are_ten_and_load(tmp_path: Path) -> None:
    """The configuration that the README begins with is what it says."""
    (text,) = [body for language, body in BLOCKS if language == "yaml"][:1]
    assert len(text.strip().splitlines()) <= 10
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    report = check_config(file)
    assert report.problems == []
    assert len(report.groups[0].deployments) == 2


def test_the_example_configuration_has_no_problem() -> None:
    """config.example.yaml is understood in full."""
    report = check_config(ROOT / "config.example.yaml")
    assert report.problems == []
    assert [d.curated for d in report.groups[0].deployments] == [True, False, True]


def test_the_curated_example_names_the_first_five() -> None:
    """examples/curated.yaml holds the five first Exacto models."""
    settings = settings_of_file(ROOT / "examples" / "curated.yaml", {})
    assert set(settings.curated) == {
        "moonshotai/kimi-k2-0905",
        "deepseek/deepseek-v3.1-terminus",
        "z-ai/glm-4.6",
        "openai/gpt-oss-120b",
        "qwen/qwen3-coder",
    }


def test_make_targets_of_the_readme_exist() -> None:
    """Every `make x` in the README is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog: an Unreleased section or a version on top, known headings only."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.search(r"^## \[", text, re.MULTILINE)


def test_yaml_blocks_parse() -> None:
    """No YAML in the README is broken."""
    for language, body in BLOCKS:
        if language == "yaml":
            yaml.safe_load(body)
