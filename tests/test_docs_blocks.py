"""Every block of code in the documentation is run or validated here, or says above it why it is not."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import tomllib
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from sqlalchemy import create_engine

from exacto_plugin.cli.check_config import check_config
from exacto_plugin.cli.command import VERBS, _parser
from exacto_plugin.config.settings import load_settings
from exacto_plugin.litellm_hooks.request.provider_object import read_provider
from exacto_plugin.simulate.scenario import Scenario
from exacto_plugin.store.tables import metadata
from tests.support.pages import BLOCKS, PAGES, ROOT, Block, commands, inline_code, shell_blocks
from tests.support.source_tree import modules, tree

if TYPE_CHECKING:
    from pathlib import Path

MARKED: Final = {
    "README.md": {"installs from an index; `make dist` installs the built package": 1},
    "docs/benchmarks.md": {
        "GPQA is downloaded from the internet": 1,
        "installs from GitHub and downloads data": 1,
        "systemd is needed, as root": 1,
    },
    "docs/how-to/docker-compose.md": {"needs Docker": 1},
    "docs/how-to/kubernetes.md": {"needs Docker and a registry": 1, "needs a cluster": 1},
    "docs/how-to/simulated-providers.md": {
        "both stay in the foreground; a test starts the same configuration": 1,
    },
    "docs/tutorials/proxy.md": {
        "clones from the network and installs from an index; tests start the same configuration": 1,
        "needs the proxy above, with keys of real providers": 1,
        "needs Docker": 1,
    },
    "docs/tutorials/python.md": {"installs from an index; `make dist` installs the built package": 1},
    "docs/upstream.md": {
        "a file for the requests below, which ask LiteLLM 1.108.7 without the plugin": 2,
        "asks LiteLLM 1.108.7 without the plugin, as a report to its maintainers": 7,
    },
}
"""The blocks that no test runs, by page and reason."""

RUN_ELSEWHERE: Final = {
    "docs/how-to/simulated-providers.md": "tests/e2e/test_examples.py",
    "docs/tutorials/python.md": "tests/sdk/test_program.py",
}
"""Programs that need simulated providers, and the tests that run them."""

NO_EFFECT: Final = frozenset({"cd", "export"})


@pytest.fixture(autouse=True)
def _a_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pages tell readers to do it, once."""
    monkeypatch.setenv("EXACTO_URL", "http://localhost:4000")


def of(*languages: str) -> list[Any]:
    """The blocks in these languages, as parameters of a test."""
    return [pytest.param(block, id=block.name) for block in BLOCKS if block.language in languages]


def test_marked_blocks_are_listed() -> None:
    """A block that no test runs is there on purpose."""
    found: dict[str, Counter[str]] = {}
    for block in BLOCKS:
        if block.reason:
            found.setdefault(block.page, Counter())[block.reason] += 1
    assert found == MARKED


def test_every_block_has_a_language() -> None:
    """Also what is only shown: `text`; what is typed stands in a block of commands."""
    assert len(BLOCKS) == sum(text.count("```") for text in PAGES.values()) // 2
    known = {"bash", "console", "json", "python", "sql", "text", "yaml"}
    assert {block.name for block in BLOCKS if block.language not in known} == set()
    typed = re.compile(r"^\$ ", re.MULTILINE)
    assert {block.name for block in BLOCKS if block.language == "text" and typed.search(block.body)} == set()


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml(block: Block, tmp_path: Path) -> None:
    """A configuration has no problem, a block of settings and a scenario are such."""
    if block.reason:
        assert list(yaml.safe_load_all(block.body))
        return
    loaded = yaml.safe_load(block.body)
    if "requests_per_minute" in loaded:
        Scenario.model_validate(loaded)
        return
    if "model_list" not in loaded:
        assert set(loaded) <= {"exacto_settings", "general_settings", "litellm_settings"}
        load_settings(loaded.get("exacto_settings"))
        return
    if "exacto_plugin" not in block.body and "custom_auth" not in block.body:
        loaded["litellm_settings"] = {"callbacks": ["exacto_plugin.callback"]}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(loaded), encoding="utf-8")
    problems = check_config(file, connecting=False).problems
    assert problems == [] or (block.page == "docs/upstream.md" and "callbacks" in problems[0])


def test_the_manifests_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration for Kubernetes has no problem, and every name in it has the thing that it names."""
    text = (ROOT / "examples" / "kubernetes" / "exacto.yaml").read_text(encoding="utf-8")
    kinds = {one["kind"]: one for one in yaml.safe_load_all(text)}
    file = tmp_path / "config.yaml"
    file.write_text(kinds["ConfigMap"]["data"]["config.yaml"], encoding="utf-8")
    monkeypatch.setenv("EXACTO_STORE_URL", "postgresql://litellm:none@postgres:5432/exacto")
    monkeypatch.setenv("EXACTO_REDIS_URL", "redis://redis:6379/0")
    assert check_config(file, connecting=False).problems == []
    pod = kinds["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["configMap"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    assert container["args"][1] == f"{container['volumeMounts'][0]['mountPath']}/config.yaml"
    assert kinds["Service"]["spec"]["selector"] == pod["metadata"]["labels"]
    secret = next(block.body for block in BLOCKS if "kubectl create secret" in block.body)
    named = set(re.findall(r"os\.environ/(\w+)", text)) | {"LITELLM_SALT_KEY"}
    assert named == set(re.findall(r"from-literal=(\w+)", secret))
    assert container["envFrom"] == [{"secretRef": {"name": "litellm-exacto"}}]
    assert "generic litellm-exacto " in secret


@pytest.mark.parametrize("block", of("json"))
def test_json(block: Block) -> None:
    """It is JSON; a request's `provider` object is one that is read."""
    read_provider(json.loads(block.body).get("provider"), "g")


@pytest.mark.parametrize("block", of("sql"))
def test_sql(block: Block, tmp_path: Path) -> None:
    """A query names tables and columns of the store."""
    file = tmp_path / "store.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    metadata.create_all(engine)
    engine.dispose()
    connection = sqlite3.connect(file)
    try:
        connection.execute(block.body).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("block", of("python"))
def test_python(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """A program runs, and says what the block below it shows."""
    ast.parse(block.body)
    if block.reason:
        return
    if block.page in RUN_ELSEWHERE:
        assert block.page.rpartition("/")[2] in (ROOT / RUN_ELSEWHERE[block.page]).read_text(encoding="utf-8")
        return
    exec(compile(block.body, block.page, "exec"), {})
    below = BLOCKS[BLOCKS.index(block) + 1]
    assert below.language == "text"
    assert below.body.strip() in capsys.readouterr().out


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in shell_blocks()])
def test_commands(block: Block) -> None:
    """A command of ours is one; any other stands in a block that is marked."""
    for command in commands(block):
        program, *arguments = command
        known = _is_ours(program.rpartition("/")[2], arguments)
        assert known or block.reason, f"{' '.join(command)}: mark the block with the reason why it is not run"


def _is_ours(program: str, arguments: list[str]) -> bool:
    """Whether a command can be checked, which it then is."""
    if program == "exacto":
        _parser().parse_args(arguments)
    elif program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        assert {one for one in arguments if "=" not in one} <= targets
    elif program == "pip" and arguments[0] == "install":
        _check_installed(arguments[1:])
    elif program in ("python", "python3") and arguments[0] == "-m":
        return arguments[1].partition(".")[0] in ("benchmarks", "exacto_plugin", "tests") and _module(arguments[1])
    else:
        return program in NO_EFFECT
    return True


def _module(name: str) -> bool:
    return find_spec(name) is not None


def _check_installed(arguments: list[str]) -> None:
    """This package with extras that it has, or another one."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for one in arguments:
        if found := re.fullmatch(r"(?:\.|exacto-plugin)\[(.+)\]", one):
            assert set(found[1].split(",")) <= set(extras)


SENTENCES: Final = sorted(
    {(path, code) for path, text in PAGES.items() for code in inline_code(text) if re.match(r"exacto [a-z]", code)}
)


VERBS_OF_VERBS = tuple([verb] for verb in ("verify", "ingest", "show", "plan", "run", "compare", "schedule"))
"""Named without their options."""


@pytest.mark.parametrize(("path", "code"), SENTENCES)
def test_commands_in_sentences(path: str, code: str) -> None:
    """A verb exists, and so does every option; a whole command is one that can be typed."""
    _, verb, *rest = code.split()
    assert verb in {one.name for one in VERBS}
    options = set(re.findall(r"--[a-z-]+", code))
    assert options <= options_of(verb)
    if rest and not re.search(r"[\[|]|\.\.\.", code) and rest not in VERBS_OF_VERBS:
        _parser().parse_args(next(iter(commands(Block(path, "bash", code, ""))))[1:])


def test_commands_in_messages() -> None:
    """What the command line, the page and the log tell people to type can be typed."""
    said = {
        (name, code)
        for name in modules()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for code in re.findall(r"(?<!`)`(exacto [a-z][a-z-]*[^`]*)`(?!`)", node.value)
    }
    assert len(said) > 5
    wrong = []
    for name, code in sorted(said):
        try:
            test_commands_in_sentences(name, code)
        except SystemExit:
            wrong.append(f"{name}: {code}")
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in PAGES if path != "CHANGELOG.md"])
def test_modules_in_sentences(path: str) -> None:
    """What `python -m` is to run is there."""
    for code in inline_code(PAGES[path]):
        if found := re.match(r"python -m ((?:benchmarks|tests|exacto_plugin)[\w.]*)", code):
            assert _module(found[1]), code


def options_of(verb: str) -> set[str]:
    """Every long option of a verb and of its own verbs."""
    (verbs,) = [action for action in _parser()._actions if action.dest == "verb"]
    assert isinstance(verbs.choices, dict)
    waiting, found = [verbs.choices[verb]], set()
    while waiting:
        parser = waiting.pop()
        if load := getattr(parser, "load", None):
            load()
        for action in parser._actions:
            found |= {option for option in action.option_strings if option.startswith("--")}
            waiting += action.choices.values() if isinstance(action.choices, dict) else []
    return found - {"--help"}
