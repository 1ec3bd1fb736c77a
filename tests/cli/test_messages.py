"""Messages of the command line on a terminal of 80 columns, and what they name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.audit.names import resolve_deployments, resolve_group
from exacto_plugin.cli.command import main
from exacto_plugin.errors import SettingsError, UnknownNameError
from exacto_plugin.store.location import location_of_url

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "arguments",
    [
        ["why", "cedar", "--at", "yesterday"],
        ["override", "cedar", "good-for-ever-and-ever", "--for", "2h", "--reason", "a reason"],
        ["override", "cedar", "good", "--for", "a fortnight", "--reason", "a reason that is long"],
        ["tiers", "--fail-on", "worse-than-i-thought-and-then-some-more-of-that"],
        ["doctor", "--config", "a-long-name-of-a-file.yaml", "--and-more-that-is-not-known", "of-long-options"],
        ["bench", "list", "--limit-of-something-that-does-not-exist", "in-this-version", "or-any-other-that-was"],
        ["bundle", "cedar", "--since", "a long while ago, when all was well, and every call was a good one"],
    ],
)
def test_errors_of_arguments_are_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """As all other messages: at the width of the terminal, with status 2."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "error:" in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("verb", [["tiers"], ["why", "cedar"], ["audit"], ["report"], ["bundle", "cedar"]])
def test_a_bad_store_is_named_as_it_was_given(capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    """``--store`` and not a setting, with the address that a file name means."""
    assert main([*verb, "--store", "foo.sqlite"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "--store: got no URL" in told
    assert "store.url" not in told
    assert "write sqlite:///foo.sqlite" in told


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "secret@x", "secret", "postgresql://u:p@q@secret/d"])
def test_a_setting_is_named_in_full(url: str) -> None:
    """As every other setting, and without the address, which may have a password in it."""
    with pytest.raises(SettingsError, match=r"^exacto_settings\.store\.url: ") as raised:
        location_of_url(url)
    assert "secret" not in str(raised.value)


def test_a_deployment_without_a_verdict_is_not_denied() -> None:
    """Before the first verdict no deployment is known, and the configuration may well have it."""
    for ask in (partial(resolve_deployments, "cedar", []), partial(resolve_group, "kimi", [])):
        with pytest.raises(UnknownNameError, match=r"^nothing is known of '.+' yet: no deployment has a verdict"):
            ask()


def test_a_shared_id_gives_a_problem_and_no_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hint to set an id is for those that have none."""
    entry = "{{model_name: kimi, litellm_params: {{model: {0}/k, api_key: x}}, model_info: {{id: oak}}}}"
    file = tmp_path / "config.yaml"
    file.write_text(
        f"model_list: [{entry.format('deepinfra')}, {entry.format('fireworks_ai')}]\n"
        "litellm_settings: {callbacks: [exacto_plugin.callback]}\n"
    )
    assert main(["check-config", str(file), "--offline"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "the same model_info.id 'oak'" in told
    assert "share the history" not in told


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """Not told as a lack of permissions."""
    with pytest.raises(SettingsError, match="is a directory, expected a file in it"):
        location_of_url(f"sqlite:///{tmp_path}")


def test_a_bundle_says_why_an_address_is_not_enough(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verbs beside it take EXACTO_URL."""
    monkeypatch.setenv("EXACTO_URL", "http://localhost:1")
    assert main(["bundle", "cedar"]) == 2
    assert "use --config FILE or --store URL (a running proxy cannot give this" in capsys.readouterr().err
