"""``exacto init``: adds the plugin's line and block to a LiteLLM ``config.yaml``.

Works on the lines of the file, so that comments and layout stay. Writes only with ``--yes``.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import write_text
from exacto_plugin.text_tables import busy, write_tables

if TYPE_CHECKING:
    import argparse

_CALLBACK = "exacto_plugin.callback"
_BLOCK = "exacto_settings"


def add_init(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", nargs="?", default="config.yaml", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--yes", action="store_true", help="write the change; without it the diff is shown only")
    add_examples(
        parser,
        "exacto init config.yaml            # shows what would change",
        "exacto init config.yaml --yes      # writes it, and keeps config.yaml.bak",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show the change, and write it with ``--yes``.

    Raises:
        ExactoError: the file cannot be read or written, or is written in a way that cannot be changed by lines.
    """
    from exacto_plugin.config.sources import read_text

    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    path = Path(options.file)
    before = read_text(path)
    with busy("loading LiteLLM ..."):
        after, notes = initialized(before, str(path))
    if after == before:
        write_tables(f"{path} has the callback and the block already; `exacto check-config {path}` checks them.")
        return 0
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), f"{path} (new)", lineterm="", n=2)
    write_text("\n".join(diff))
    write_tables("", *notes)
    if not options.yes:
        write_tables("Nothing is written: add --yes to write it.")
        return 0
    try:
        path.with_name(f"{path.name}.bak").write_text(before, encoding="utf-8")
        path.write_text(after, encoding="utf-8")
    except OSError as error:
        raise ExactoError(f"{path}: cannot be written: {error.strerror}") from None
    write_tables(f"Written; the old file is {path.name}.bak. Next: exacto check-config {path}")
    return 0


def initialized(text: str, name: str) -> tuple[str, list[str]]:
    """Return a configuration with callback and block, and what was found in it.

    Args:
        text: of ``config.yaml``.
        name: of the file, for messages.

    Raises:
        ExactoError: it is not valid, or is written in a way that cannot be changed by lines.
    """
    config = _parsed(text, name)
    after = text if text.endswith("\n") or not text else f"{text}\n"
    notes: list[str] = []
    if _CALLBACK not in _callbacks(config):
        after = _with_callback(after, config, name)
    if _BLOCK not in config:
        block, notes = _block(config)
        after = f"{after.rstrip()}\n\n{block}" if after.strip() else block
    _check(after, config, name)
    return after, notes


def _parsed(text: str, name: str) -> Mapping[str, Any]:
    from exacto_plugin.config.yaml_text import parse_yaml

    config = parse_yaml(text, name)
    if not isinstance(config, Mapping) or not config.get("model_list"):
        raise ExactoError(f"{name}: has no model_list, so there is nothing to route")
    return config


def _callbacks(config: Mapping[str, Any]) -> Sequence[object]:
    section = config.get("litellm_settings")
    found = section.get("callbacks") if isinstance(section, Mapping) else None
    return [found] if isinstance(found, str) else found if isinstance(found, list) else []


def _with_callback(text: str, config: Mapping[str, Any], name: str) -> str:
    """Return the text with the callback added to ``litellm_settings.callbacks``.

    Raises:
        ExactoError: the place cannot be found by lines.
    """
    lines = text.splitlines()
    listed = f'["{_CALLBACK}"]'
    if "litellm_settings" not in config:
        return f"{text.rstrip()}\n\nlitellm_settings:\n  callbacks: {listed}\n"
    at = next((at for at, line in enumerate(lines) if re.match(r"litellm_settings\s*:\s*(#.*)?$", line)), None)
    if at is None:
        raise _by_hand(name, config)
    section = config["litellm_settings"] or {}
    end = next((n for n in range(at + 1, len(lines)) if re.match(r"[^\s#-]", lines[n])), len(lines))
    inside = [n for n in range(at + 1, end) if re.match(r"\s+[^\s#]", lines[n])]
    indent = re.match(r"\s*", lines[inside[0]])[0] if inside else "  "  # type: ignore[index]
    if "callbacks" not in section:
        return "\n".join([*lines[: at + 1], f"{indent}callbacks: {listed}", *lines[at + 1 :]]) + "\n"
    own = next((n for n in inside if re.match(rf"{indent}callbacks\s*:", lines[n])), None)
    if own is None:
        raise _by_hand(name, config)
    extended = _extended(lines[own], indent, section["callbacks"])
    if not extended:
        raise _by_hand(name, config)
    lines[own : own + 1] = extended
    return "\n".join(lines) + "\n"


def _extended(line: str, indent: str, present: object) -> list[str]:
    """Return the line of ``callbacks`` with ours added.

    Empty when the list is written over several lines in brackets.
    """
    comment = re.search(r"\s+#.*$", line)
    bare, rest = (line[: comment.start()], comment[0]) if comment else (line.rstrip(), "")
    if isinstance(present, str):
        return [f'{indent}callbacks: [{present}, "{_CALLBACK}"]{rest}']
    if bare.endswith("[]"):
        return [f'{bare[:-1]}"{_CALLBACK}"]{rest}']
    if bare.endswith("]"):
        return [f'{bare[:-1].rstrip()}, "{_CALLBACK}"]{rest}']
    if bare.endswith(":") and isinstance(present, list):
        return [line, f"{indent}  - {_CALLBACK}"]
    if bare.endswith(":") and present is None:
        return [f'{bare} ["{_CALLBACK}"]{rest}']
    return []


def _by_hand(name: str, config: Mapping[str, Any]) -> ExactoError:
    """Return the error with the list to write, which keeps the callbacks there are."""
    listed = json.dumps([*map(str, _callbacks(config)), _CALLBACK])
    return ExactoError(
        f"{name}: litellm_settings is written in a way that cannot be changed by lines; write callbacks: {listed} there"
        " by hand"
    )


def _block(config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the block with its comments, and the same in sentences."""
    from exacto_plugin.core.routing.filters import providers_of
    from exacto_plugin.litellm_hooks.checks.model_list import candidates_of

    groups = {name: found for name, found in candidates_of(config).items() if "*" not in name}
    compared = {name: providers_of(found) for name, found in groups.items() if len(found) > 1}
    single = [name for name, found in groups.items() if len(found) == 1]
    lines = [
        f"{_BLOCK}:",
        "  # Steps: mode: observe, then mode: apply with apply_share: 0.1, then mode: apply alone. In observe tiers",
        "  # are decided, not applied, and `exacto report` tells what they would change. Suffixes and sorts of clients",
        "  # as well as curated lists and limits (only, ignore, ...) hold in every mode.",
        "  mode: observe",
    ]
    for name, providers in compared.items():
        lines.append(_comment(f"compared: {name}: {', '.join(providers)}"))
    notes = [
        *(f"{name}: {len(groups[name])} deployments, of {', '.join(p)}" for name, p in compared.items()),
        *([f"one deployment each, so nothing to order: {', '.join(single)}"] if single else []),
    ]
    if not compared:
        notes.append("No model group has several deployments, so there is nothing to order yet.")
    return "\n".join(lines) + "\n", notes


def _comment(text: str) -> str:
    """Return a comment of one line, whatever is in it."""
    return f"  # {text.encode('unicode_escape').decode('ascii') if not text.isprintable() else text}"


def _check(text: str, before: Mapping[str, Any], name: str) -> None:
    """Check that the new text says the same as the old one, and ours.

    Raises:
        ExactoError: it does not.
    """
    after = _parsed(text, name)
    ours = {_BLOCK, "litellm_settings"}
    same = {key: value for key, value in after.items() if key not in ours}
    if same != {key: value for key, value in before.items() if key not in ours} or _CALLBACK not in _callbacks(after):
        raise _by_hand(name, before)
