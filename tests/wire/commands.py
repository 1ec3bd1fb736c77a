"""The command ``exacto``: verbs, arguments, and what each prints with ``--json``."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import yaml

from exacto_plugin.audit.verify import Difference, Verification
from exacto_plugin.cli import command
from exacto_plugin.cli.curate import Criteria, as_dict, propose
from exacto_plugin.cli.source import StoreSource
from tests.support.served_proxy import START, model_list
from tests.wire.plain import shape
from tests.wire.story import KIMI, NAMES, story


def commands() -> Any:
    """Every verb with its arguments."""
    return _arguments(command._parser())


def _arguments(parser: argparse.ArgumentParser) -> Any:
    told: dict[str, Any] = {}
    if isinstance(parser, command.VerbParser):
        parser.load()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told |= {f"verb {name}": _arguments(verb) for name, verb in action.choices.items()}
        else:
            name = " ".join(action.option_strings) or action.dest
            choices = None if action.choices is None else list(action.choices)
            told[name] = [action.nargs, choices, action.metavar if isinstance(action.metavar, str) else None]
    return told


def command_answers() -> Any:
    """Paths and types of what is printed as JSON."""
    told = story()
    store, (log,) = ["--store", f"sqlite:///{told.store}"], told.store.parent.glob("*.jsonl")
    moment = datetime.fromtimestamp(START + 3600.0, UTC).isoformat()
    request = told.answers["GET decisions/ID"]["id"]
    group = told.answers["GET models/GROUP"]
    config = told.store.parent / "config.yaml"
    config.write_text(yaml.safe_dump({"model_list": model_list(), "exacto_settings": {"curated": {KIMI: ["aster"]}}}))
    difference = Difference("s", START, KIMI, "deployment cedar", ["deranked"], None, "0.1.0")
    with mock.patch("time.time", return_value=START + 3700.0):
        found = {
            "why": _printed("why", "cedar", "--at", moment, *store),
            "why --request": _printed("why", "--request", request, *store),
            "tiers": _printed("tiers", *store),
            "audit": _printed("audit", *store),
            "report": _printed("report", *store),
        }
    with mock.patch.object(StoreSource, "verify", return_value=Verification(differences=[difference])):
        found["audit verify"] = _printed("audit", "verify", *store)
    found["check-config"] = _printed("check-config", str(config))
    found["replay"] = _printed("replay", str(log), "--preset", "openrouter")
    found["simulate"] = _printed("simulate", "two-deployments", "--preset", "openrouter", "--hours", "1", "--reps", "1")
    found["curate"] = as_dict([propose(group, Criteria(min_calls=20, max_ignored=1.0))])
    names = {*NAMES, *found["simulate"]["presets"]["openrouter"].get("picks", ())}
    return {name: shape(answer, names) for name, answer in found.items()}


def _printed(*arguments: str) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        command.main([*arguments, "--json"])
    return json.loads(out.getvalue())


SECTIONS = (commands, command_answers)
