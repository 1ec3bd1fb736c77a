"""What is there is documented, and what is documented works."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider

from benchmarks.__main__ import COMMANDS, baseline
from exacto_plugin.cli import command
from exacto_plugin.cli.check_config import check_config
from exacto_plugin.config.settings import load_settings
from exacto_plugin.config.sources import settings_of_file
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Tier
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.http.answer_facts import answer_facts
from exacto_plugin.litellm_hooks.request.attempts import Attempt, RescueProgress
from exacto_plugin.litellm_hooks.request.routing_state import RoutingState
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.telemetry import Telemetry
from tests import badges
from tests.support.pages import BLOCKS, PAGES, ROOT, inline_code

if TYPE_CHECKING:
    from pathlib import Path

HEADERS, METRICS, VERBS = (PAGES[f"docs/reference/{name}.md"] for name in ("headers-and-errors", "metrics", "cli"))


FROM_OUTSIDE = {"../CHANGELOG.md": "changelog.md", "../CONTRIBUTING.md": "contributing.md", "../LICENSE": "license.md"}
"""Pages of the site that mkdocs_hooks.py makes of files outside docs/."""


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_header_is_in_the_reference() -> None:
    """Whatever the middleware may send is explained."""
    first, second = (Attempt(Candidate(LiteLLMId(key), DeploymentKey(key), "p"), "g", Tier.DERANKED) for key in "ab")
    state = RequestState(attempts=[first, second], routing=RoutingState(Policy(), snapshot_id="s"))
    state.rescue = RescueProgress(first, answered_by=second, attempts=1, extra_cost=1.0)
    headers = {f"x-exacto-{name}" for name in answer_facts(state, names=True)}
    assert len(headers) == 9
    assert {header for header in headers if f"`{header}`" not in HEADERS} == set()


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


def test_every_metric_is_in_the_reference() -> None:
    """The instruments are asked for their names, so that a new one cannot be forgotten."""
    provider = _NamesOfInstruments()
    Telemetry(Runtime(load_settings(None)).metrics, provider)
    assert len(provider.names) > 15
    forgotten = set()
    for name in provider.names:
        *family, last = name.split(".")
        if name not in METRICS and not (family[:2] == ["exacto", "signal"] and f".{last}`" in METRICS):
            forgotten.add("exacto.reference.*" if family[:2] == ["exacto", "reference"] else name)
    assert forgotten <= {"exacto.reference.*"}
    assert "`exacto.reference.<signal>.median`, `.mad`, `.threshold`" in METRICS
    rows = [line.split("|")[1] for line in METRICS.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in inline_code(row) if not name.startswith(".") and "<" not in name]
    assert set(named) - set(provider.names) == set()


def test_every_verb_is_in_the_reference() -> None:
    """The command line as it is, not as it was."""
    (verbs,) = [a for a in command._parser()._actions if a.dest == "verb"]
    assert verbs.choices
    assert {verb for verb in verbs.choices if f"exacto {verb}" not in VERBS} == set()


def test_the_ten_lines_are_ten_and_load(tmp_path: Path) -> None:
    """The configuration that the tutorial begins with is what it says, and README's two lines are among its."""
    (text,) = [one.body for one in BLOCKS if (one.page, one.language) == ("docs/tutorials/proxy.md", "yaml")][:1]
    (ours,) = [one.body for one in BLOCKS if (one.page, one.language) == ("README.md", "yaml")]
    assert len(ours.strip().splitlines()) == 2
    assert ours.strip() in text
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


@pytest.mark.parametrize("path", PAGES)
def test_make_targets_of_a_page_exist(path: str) -> None:
    """Every `make x` is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", PAGES[path], re.MULTILINE)) <= targets


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog: an Unreleased section or a version on top, known headings only."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.search(r"^## \[", text, re.MULTILINE)


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path: str) -> None:
    """Every relative link names a file of the repository, and its anchor a heading there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[path]):
        if re.match(r"https?:", target):
            # Of other sites only the form is checked: tests need no internet.
            parts = urlsplit(target)
            assert parts.scheme == "https", target
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.hostname or ""), target
            continue
        name, _, anchor = target.partition("#")
        file = ((ROOT / path).parent / name).resolve() if name else ROOT / path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_the_address_of_the_repository_is_that_of_the_metadata() -> None:
    """Pages clone from the address in pyproject.toml, wherever that will be."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    cloned = {url for text in PAGES.values() for url in re.findall(r"git clone (\S+exacto\S*)", text)}
    assert cloned == {urls["Repository"]}


def test_every_page_is_in_the_table_of_contents() -> None:
    """A page that no list names is found by nobody."""
    contents = PAGES["docs/README.md"]
    pages = {path.removeprefix("docs/") for path in PAGES if path.startswith("docs/")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in contents} == set()


def test_the_site_has_the_table_of_contents() -> None:
    """mkdocs.yml names the kinds, pages and titles of docs/README.md, in its order."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for line in PAGES["docs/README.md"].splitlines():
        if line.startswith("## "):
            kinds[line.removeprefix("## ")] = []
        elif entry := re.fullmatch(r"\* \[(.+)\]\((.+)\)", line):
            kinds[list(kinds)[-1]].append((entry[1].replace("`", ""), FROM_OUTSIDE.get(entry[2], entry[2])))
    first, second, *nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert [*first.values(), *second.values()] == ["index.md", "contents.md"]
    assert {
        kind: [pair for one in pages for pair in one.items()] for part in nav for kind, pages in part.items()
    } == kinds


def test_the_readme_is_short() -> None:
    """The first page is read in a few minutes; the rest belongs into docs/."""
    assert len(PAGES["README.md"].splitlines()) <= 150
    words = [word for word in PAGES["README.md"].split() if any(letter.isalnum() for letter in word)]
    assert len(words) <= 1000


def test_the_badges_of_the_readme_say_what_their_texts_say() -> None:
    """Whoever does not see the pictures reads the same; `tests.reference` writes them from the package's own facts."""
    shown = re.findall(r"!\[(.+)\]\(docs/images/badges/(.+)\.svg\)", PAGES["README.md"])
    assert [name for _, name in shown] == list(badges.facts())
    for said, name in shown:
        assert sorted(said.lower().split()) == sorted(" ".join(badges.facts()[name]).lower().split())


def test_the_picture_of_the_readme_is_the_demonstrations() -> None:
    """Its description is the sentence that the demonstration drew into it."""
    ((said, name),) = re.findall(r"!\[(.+)\]\((docs/images/[^/]+\.svg)\)", PAGES["README.md"])
    root = ElementTree.parse(ROOT / name).getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title") == said
    drawn = " ".join(text for text in root.itertext() if text.strip())
    assert "K2 Vendor Verifier" in drawn
    before, after = re.findall(r"(\d+) of (\d+)", said)
    assert "before: {} bad of {}".format(*before) in drawn
    assert "after: {} bad of {}".format(*after) in drawn


@pytest.mark.parametrize("path", [path for path in PAGES if path != "CHANGELOG.md"])
def test_numbers_of_results_have_a_command(path: str) -> None:
    """A page that names a file of results names what wrote it, or the file begins with that."""
    for name in re.findall(r"\]\((?:\.\./)*(benchmarks/results/\w+\.txt)\)", PAGES[path]):
        first = (ROOT / name).read_text(encoding="utf-8").partition("\n")[0]
        assert re.match(r"\$ (python -m|make) ", first), name
        assert "benchmarks" in first or "make" in first


def test_every_result_is_made_by_make_bench() -> None:
    """`make bench` knows each kept result; the two others have targets of their own."""
    kept = {file.stem for file in (ROOT / "benchmarks" / "results").glob("*.txt")}
    assert kept - set(COMMANDS) == {"airline", "clients"}
    assert {name for name in COMMANDS if not (ROOT / "benchmarks" / f"{name}.py").exists()} == set()


def test_the_former_rule_stays_in_a_result(tmp_path: Path) -> None:
    """A new run takes the place of what is above the baseline only."""
    file = tmp_path / "a.txt"
    assert baseline(file) == ""
    file.write_text("new\n\n===\nBASELINE: the former rule\nold\n", encoding="utf-8")
    assert baseline(file).endswith("\nBASELINE: the former rule\nold\n")
    assert "new" not in baseline(file)
