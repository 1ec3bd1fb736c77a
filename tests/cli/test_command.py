"""The ``exacto`` command."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from exacto_plugin._version import __version__
from exacto_plugin.cli.command import VERBS, main
from exacto_plugin.litellm_hooks.features import Feature, litellm_version
from tests.support.private_seams import private_seams

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
model_list:
  - model_name: kimi
    litellm_params:
      {model: openai/k, api_base: "https://api.fast.ai/v1", input_cost_per_token: 1e-6, output_cost_per_token: 2e-6}
    model_info: {id: one}
  - model_name: kimi
    litellm_params: {model: openai/k, api_base: "https://api.slow.com/v1"}
    model_info: {id: two}
litellm_settings: {callbacks: ["exacto_plugin.callback"]}
"""


def check(tmp_path: Path, text: str, *options: str) -> int:
    """Run ``exacto check-config`` on a file with this text."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return main(["check-config", str(file), *options])


def test_a_good_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything understood is told, with a hint about the missing price; the status is 0."""
    assert check(tmp_path, GOOD, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [d["id"] for d in report["groups"][0]["deployments"]] == ["one", "two"]
    assert [d["price_per_million"] for d in report["groups"][0]["deployments"]] == [pytest.approx(3.0), None]
    assert any("no known price for two" in hint for hint in report["hints"])


def test_a_share_of_the_conversations_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``mode apply`` alone would claim that tiers apply to all of them."""
    assert check(tmp_path, f"{GOOD}exacto_settings: {{apply_share: 0.1}}") == 0
    assert "kimi: mode apply to 10.0 % of the conversations" in " ".join(capsys.readouterr().out.split())


def test_a_verb_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """The similar one is suggested; without any verb the help is shown."""
    assert main(["tires"]) == 2
    assert "there is no verb 'tires' (did you mean tiers?)" in capsys.readouterr().err
    assert main([]) == 2
    assert "check-config" in capsys.readouterr().err


def test_errors_are_as_wide_as_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that lists every key."""
    monkeypatch.setenv("COLUMNS", "80")
    assert check(tmp_path, f"{GOOD}exacto_settings: {{mod: apply}}") == 2
    told = capsys.readouterr().err
    assert "unknown key" in told
    assert max(map(len, told.splitlines())) <= 80


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json a table comes out."""
    assert check(tmp_path, GOOD) == 0
    shown = capsys.readouterr().out
    assert "No problems found." in shown
    assert "kimi" in shown


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            "exacto_settings: {curated: {kimi: [nobody]}}",
            "exacto_settings.curated.kimi[0]: matches no deployment; providers there: fast, slow",
        ),
        ("exacto_settings: {curated: {kim: [one]}}", "no such model_name"),
        ("exacto_settings: {model_groups: {glm: {mode: observe}}}", "no such model_name"),
        ("exacto_settings: {only: [nobody]}", "kimi: no deployment is left by only (set for this proxy)"),
        (
            "exacto_settings: {only: [slov]}",
            "1 entry matches no deployment (did you mean slow?); providers there: fast, slow",
        ),
        ("exacto_settings: {model_groups: {kimi: {zdr: true}}}", "no deployment is left by zdr (set for this model)"),
    ],
)
def test_problems_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, problem: str) -> None:
    """What will not work as written is named, and the status is 1."""
    assert check(tmp_path, GOOD + more, "--json") == 1
    assert any(problem in line for line in json.loads(capsys.readouterr().out)["problems"])


LISTED = """
model_list:
  - model_name: gpt-5
    litellm_params: {model: openai/gpt-5}
  - model_name: claude
    litellm_params: {model: bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0}
  - model_name: own
    litellm_params: {model: openai/own, api_base: "http://vllm:8000/v1"}
    model_info: {id: our-own}
litellm_settings: {callbacks: ["exacto_plugin.callback"]}
exacto_settings: {max_price: {prompt: 20, completion: 100}}
"""


def test_prices_are_those_of_litellms_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However a model is spelled; of the others it is said that their price is not known."""
    assert check(tmp_path, LISTED, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    prices = [one["price_per_million"] for group in report["groups"] for one in group["deployments"]]
    assert prices == [pytest.approx(11.25), pytest.approx(19.8), None]
    assert report["problems"] == [
        "own: no deployment is left by max_price (set for this proxy), so every request is refused; the price of"
        " our-own is not known (set input_cost_per_token and output_cost_per_token)"
    ]


TWICE = GOOD.replace("{id: two}", "{id: one}")
SERVICES = "exacto_settings: {{{}}}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TWICE, "model_list[0] and model_list[1]: the same model_info.id 'one'; every deployment needs one of its own"),
        (GOOD + "exacto: {mode: observe}", "exacto: is not read: the block is called exacto_settings: and belongs"),
        (GOOD + "exacto-setings: {}", "exacto-setings: is not read: the block is called exacto_settings:"),
        (GOOD + "general_settings: {exacto_settings: {}}", "general_settings.exacto_settings is not read: "),
        (GOOD + "exacto_settings: {curated: {kimy: [one]}}", "in model_list (did you mean kimi?)"),
        (GOOD + "exacto_settings: {curated: {kimi: [slov]}}", "providers there: fast, slow (did you mean slow?)"),
        (GOOD.replace("plugin.callback", "plugin.calback"), "(it has 'exacto_plugin.calback'), so nothing is loaded"),
        (
            GOOD.replace("litellm_settings:", "general_settings:"),
            "general_settings.callbacks names exacto_plugin.callback; it belongs in litellm_settings.callbacks",
        ),
        (GOOD + SERVICES.format("redis: {url: 'redis://:secret@127.0.0.1:9'}"), "redis.url: no answer from this Redis"),
        (
            GOOD + SERVICES.format("store: {url: 'postgresql://u:secret@127.0.0.1:9/db'}"),
            "store.url: postgresql://u:***@127.0.0.1:9/db does not answer",
        ),
        (
            GOOD + SERVICES.format("store: {url: 'sqlite:////dev/null/none/x.sqlite'}"),
            "cannot be written to by this user",
        ),
        (
            GOOD + SERVICES.format("store: {outcomes: /dev/null/none}"),
            "store.outcomes: /dev/null/none cannot be written to",
        ),
        (GOOD.replace("{model: openai/k, ", "{"), "model_list[0].litellm_params.model: expected a text; LiteLLM does"),
    ],
)
def test_what_stops_or_cripples_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, problem: str
) -> None:
    """It is found before the start, told in one line, and holds no password."""
    assert check(tmp_path, text, "--json") == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [line for line in problems if problem in line], problems
    assert "secret" not in "".join(problems)


def test_what_is_none_of_a_store_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With status 2, as for every setting that cannot be used."""
    assert check(tmp_path, GOOD + SERVICES.format("store: {url: 'mysql://x/y'}")) == 2
    assert "store.url: got another kind of address" in capsys.readouterr().err


def test_nothing_is_connected_to_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For machines that cannot reach the database."""
    services = "store: {url: 'postgresql://u:p@127.0.0.1:9/db'}, redis: {url: 'redis://127.0.0.1:9'}"
    assert check(tmp_path, GOOD + SERVICES.format(services), "--offline", "--json") == 0
    assert json.loads(capsys.readouterr().out)["store"] == "postgresql://u:***@127.0.0.1:9/db"


SHARED = """
model_list:
  - {model_name: a, litellm_params: {model: openai/k, api_base: "https://x"}, model_info: {id: one}}
  - {model_name: b, litellm_params: {model: openai/k, api_base: "https://x"}, model_info: {id: one}}
  - {model_name: "openai/*", litellm_params: {model: "openai/*"}}
litellm_settings: {callbacks: ["exacto_plugin.callback"]}
exacto_settings: {curated: {openai/gpt-5: [openai]}}
"""


def test_what_only_looks_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One deployment in two model groups, a model behind a wildcard, models in LiteLLM's database, included files."""
    assert check(tmp_path, SHARED, "--json") == 0
    general = "general_settings: {store_model_in_db: true}\n"
    assert check(tmp_path, f"{GOOD}{general}exacto_settings: {{curated: {{other: [one]}}}}", "--json") == 0
    (tmp_path / "models.yaml").write_text(GOOD.partition("litellm_settings")[0])
    rest = "include: [models.yaml]\nlitellm_settings: {callbacks: [exacto_plugin.callback]}\n"
    assert check(tmp_path, rest, "--json") == 0
    capsys.readouterr()


def test_variables_that_are_not_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys of providers are a hint: they may be set where the proxy runs."""
    assert check(tmp_path, GOOD, "--json") == 0
    assert "not set in this environment" not in capsys.readouterr().out
    text = GOOD.replace('"https://api.slow.com/v1"', "os.environ/NOWHERE_SET")
    assert check(tmp_path, text, "--json") == 0
    assert "not set in this environment: NOWHERE_SET" in json.loads(capsys.readouterr().out)["hints"]


DEFAULTS = """
litellm_settings:
  callbacks: ["exacto_plugin.callback"]
  default_key_generate_params: {metadata: {exacto: {only: eu, default_sort: luck}}}
  default_team_params: {metadata: {exacto: [only]}}
  default_team_settings: [{team_id: a}, {team_id: b, metadata: {exacto: {only: [eu]}}}]
"""


def test_limits_of_keys_and_teams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks that stand in LiteLLM's own settings are checked: those that nobody can read, and one without effect."""
    assert check(tmp_path, GOOD.partition("litellm_settings")[0] + DEFAULTS, "--json") == 1
    keys, teams = (
        f"litellm_settings.default_{name}.metadata.exacto" for name in ("key_generate_params", "team_params")
    )
    told = {line.split(": ")[0]: line for line in json.loads(capsys.readouterr().out)["problems"]}
    assert told.keys() == {
        keys,
        teams,
        f"{keys}.only",
        f"{keys}.default_sort",
        "litellm_settings.default_team_settings[1]",
    }
    assert told[f"{keys}.only"] == f"{keys}.only: got a text, expected a list, written like [a, b]"
    assert "every request of a key or team created with it is refused" in told[keys]
    assert "has no effect there" in told["litellm_settings.default_team_settings[1]"]


def test_what_deployments_declare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A property that nobody understands is a problem, not a property that nobody has."""
    bad = "{id: one, zdr: 1, data_collection: never, supported_parameters: tools, quantization: 8}"
    assert check(tmp_path, GOOD.replace("{id: one}", bad), "--json") == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert problems == [
        "kimi: model_info.quantization: got a number, expected a text",
        "kimi: model_info.data_collection: got 'never', expected one of allow, deny",
        "kimi: model_info.zdr: got 1, expected true or false",
        "kimi: model_info.supported_parameters: got a text, expected a list",
    ]


def test_a_missing_callback_line_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commonest mistake."""
    assert check(tmp_path, GOOD.replace("exacto_plugin.callback", "other"), "--json") == 1
    assert "callbacks" in json.loads(capsys.readouterr().out)["problems"][0]


def test_bad_settings_stop_with_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same message that stops the proxy's start, and status 2."""
    assert check(tmp_path, GOOD + "exacto_settings: {default_sort: cheap}") == 2
    assert "exacto_settings.default_sort" in capsys.readouterr().err


def test_features_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On, or off with the reason and the remedy, as the proxy's status has them; LiteLLM stays as it is."""
    assert check(tmp_path, GOOD) == 0
    assert f"on with LiteLLM {litellm_version()}: {', '.join(Feature)}" in " ".join(capsys.readouterr().out.split())
    auth = import_module("litellm.proxy.auth.user_api_key_auth")
    monkeypatch.delattr(auth, "_resolve_router_settings_model_group_alias")
    assert check(tmp_path, GOOD, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["litellm"] == litellm_version()
    assert [name for name, one in told["features"].items() if not one["on"]] == ["aliases"]
    assert "_resolve_router_settings_model_group_alias" in told["features"]["aliases"]["reason"]
    assert check(tmp_path, GOOD) == 0
    assert f"aliases: off; {told['features']['aliases']['reason']}" in " ".join(capsys.readouterr().out.split())
    seams = [getattr(one.owner, one.name) for one in private_seams()]
    assert not any(hasattr(one, "exacto_wraps") for one in seams)


def test_without_litellms_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration is checked all the same, and a hint says that none can start; `demo` says what it needs."""
    monkeypatch.setitem(sys.modules, "litellm.proxy.auth.user_api_key_auth", None)
    assert check(tmp_path, GOOD, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "cannot start in this environment" in " ".join(told["hints"])
    assert all(one["on"] for one in told["features"].values())
    for name in [name for name in sys.modules if name == "uvicorn" or name.startswith("exacto_plugin.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["demo"]) == 2
    assert "pip install 'litellm[proxy]'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_with_examples(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That fits 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    examples = lines[lines.index("examples:") + 1 :]
    assert any(f"exacto {verb}" in line for line in examples)


def test_the_help_of_the_command_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a verb too."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_the_help_names_every_word_of_fail_on(capsys: pytest.CaptureFixture[str]) -> None:
    """As the message on another word does."""
    with pytest.raises(SystemExit):
        main(["tiers", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "verified_good, insufficient_data, deranked, good, undecided" in told


LIGHT = ("tiers", "why", "audit", "report", "override", "doctor", "check-config", "init", "demo")


def test_verbs_start_with_what_they_need() -> None:
    """Neither LiteLLM nor a database nor numbers are imported to read the arguments."""
    code = (
        "import sys; from exacto_plugin.cli.command import VERBS, _parser\n"
        "verbs = next(one for one in _parser()._actions if one.dest == 'verb').choices\n"
        f"for name in {LIGHT!r}: verbs[name].load()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"litellm", "sqlalchemy", "numpy", "pydantic", "openai"} & set(loaded) == set()


def test_the_package_is_a_program() -> None:
    """``python -m exacto_plugin`` is ``exacto``."""
    ran = subprocess.run(
        [sys.executable, "-m", "exacto_plugin", "--version"], check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == __version__
