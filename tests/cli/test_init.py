"""``exacto init``: what it adds to a configuration, and that nothing else changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from exacto_plugin.cli.check_config import check_config
from exacto_plugin.cli.command import main
from exacto_plugin.cli.init import initialized
from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from pathlib import Path

MODELS = """\
# our models
model_list:
  - model_name: kimi   # two of them
    litellm_params: {model: fireworks_ai/k, api_key: os.environ/NOWHERE}
  - model_name: kimi
    litellm_params: {model: deepinfra/k}
  - model_name: glm
    litellm_params: {model: novita/g}
"""


@pytest.mark.parametrize(
    ("settings", "callbacks"),
    [
        ("", ["exacto_plugin.callback"]),
        ("litellm_settings:\n  drop_params: true\n", ["exacto_plugin.callback"]),
        ("litellm_settings:\n", ["exacto_plugin.callback"]),
        ("litellm_settings:\n  callbacks: [prometheus]  # ours\n", ["prometheus", "exacto_plugin.callback"]),
        ("litellm_settings:\n  callbacks: []\n", ["exacto_plugin.callback"]),
        ("litellm_settings:\n  callbacks: prometheus\n", ["prometheus", "exacto_plugin.callback"]),
        ("litellm_settings:\n    callbacks:\n      - prometheus\n", ["exacto_plugin.callback", "prometheus"]),
        ("litellm_settings:\n  callbacks:\n    - prometheus\n", ["exacto_plugin.callback", "prometheus"]),
        ("litellm_settings:\n  callbacks:\n", ["exacto_plugin.callback"]),
        ("litellm_settings:\n  callbacks: [exacto_plugin.callback]\n", ["exacto_plugin.callback"]),
    ],
)
def test_line_and_block_are_added(settings: str, callbacks: list[str]) -> None:
    """However the section is written; comments stay, and the rest says the same."""
    before = f"{MODELS}{settings}general_settings: {{master_key: sk-1}}\n"
    after, notes = initialized(before, "config.yaml")
    told = yaml.safe_load(after)
    assert told["litellm_settings"]["callbacks"] == callbacks
    assert told["exacto_settings"] == {"mode": "observe"}
    assert "# our models\nmodel_list:\n  - model_name: kimi   # two of them\n" in after
    assert "changes no request" not in after, "suffixes, curated lists and limits hold in observe too"
    assert "hold in every mode" in after
    assert "# compared: kimi: deepinfra, fireworks_ai" in after
    assert notes == [
        "kimi: 2 deployments, of deepinfra, fireworks_ai",
        "one deployment each, so nothing to order: glm",
    ]
    old = yaml.safe_load(before)
    rest = {key: value for key, value in told.items() if key not in ("litellm_settings", "exacto_settings")}
    assert rest == {key: value for key, value in old.items() if key != "litellm_settings"}
    others = {key: value for key, value in (old.get("litellm_settings") or {}).items() if key != "callbacks"}
    assert others == {key: value for key, value in told["litellm_settings"].items() if key != "callbacks"}
    assert initialized(after, "config.yaml")[0] == after


@pytest.mark.parametrize(
    ("settings", "callbacks"),
    [
        ("litellm_settings: {drop_params: true}\n", ["exacto_plugin.callback"]),
        ("litellm_settings: {callbacks: [langfuse, otel]}\n", ["langfuse", "otel", "exacto_plugin.callback"]),
        ("litellm_settings: {callbacks: langfuse}\n", ["langfuse", "exacto_plugin.callback"]),
        ("litellm_settings:\n  callbacks: [\n    prometheus\n  ]\n", ["prometheus", "exacto_plugin.callback"]),
    ],
)
def test_what_cannot_be_changed_by_lines(settings: str, callbacks: list[str]) -> None:
    """The remedy is told instead of a guess; taken literally, it drops no callback."""
    with pytest.raises(ExactoError, match=r"by hand") as refused:
        initialized(MODELS + settings, "config.yaml")
    told = re.search(r"callbacks: \[.*?\]", str(refused.value))
    assert told is not None
    assert yaml.safe_load(told[0]) == {"callbacks": callbacks}


def test_nothing_is_written_without_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The diff is shown; with --yes the file is one that has no problem, and the old one is kept."""
    file = tmp_path / "config.yaml"
    file.write_text(MODELS)
    assert main(["init", str(file)]) == 0
    told = capsys.readouterr().out
    assert '+  callbacks: ["exacto_plugin.callback"]' in told
    assert "add --yes" in told
    assert file.read_text() == MODELS
    assert main(["init", str(file), "--yes"]) == 0
    assert (tmp_path / "config.yaml.bak").read_text() == MODELS
    assert check_config(file).problems == []
    written = file.read_text()
    assert main(["init", str(file), "--yes"]) == 0
    assert file.read_text() == written
    assert main(["init", str(tmp_path / "none.yaml")]) == 2
    (tmp_path / "empty.yaml").write_text("a: 1")
    assert main(["init", str(tmp_path / "empty.yaml")]) == 2
    assert "has no model_list" in capsys.readouterr().err
