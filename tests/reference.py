"""The pages of the reference that follow from the code, and the command that writes them.

    python -m tests.reference

`tests/test_reference.py` compares them with what stands in docs/.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import os
import re
import textwrap
from contextlib import redirect_stdout, suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from fastapi import FastAPI
from pydantic import BaseModel

from exacto_plugin.cli.command import VERBS, main
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.litellm_hooks.request.provider_object import ProviderObject
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.web.api import api_router
from tests import badges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic.fields import FieldInfo

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
_WRITTEN: Final = "This page is written by `python -m tests.reference`."


def settings_page() -> str:
    """Every setting and every number of the presets, with default, meaning and source."""
    numbers = {"tiers.adaptive": AdaptiveParameters, "tiers.openrouter": OpenRouterParameters}
    parts = [
        "# All settings, with their sources",
        f"Defaults, and where each comes from. {_WRITTEN}\n[Settings](settings.md) tells the same briefly, and how the"
        " block is read.",
        "## Settings",
        _table(_settings(Settings, "")),
    ]
    for name, preset in numbers.items():
        documented = _documented(preset)
        rows = [(f"{name}.{one.name}", _default(one.default), "", documented[one.name]) for one in fields(preset)]
        parts += [f"## Numbers of the preset `{name.partition('.')[2]}`", _table(rows)]
    return "\n\n".join(parts) + "\n"


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        path, inner = f"{prefix}{name}", field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _settings(inner, f"{path}.")
        elif isinstance(inner, type) and is_dataclass(inner):
            yield path, "see below", "", field.description or ""
        else:
            default = field.get_default(call_default_factory=True)
            yield path, _default(default), _range(field), field.description or ""


def _range(field: FieldInfo) -> str:
    """Bounds as pydantic checks them."""
    found = {}
    for one in field.metadata:
        for bound, sign in (("gt", "above"), ("ge", "from"), ("le", "up to")):
            if (value := getattr(one, bound, None)) is not None:
                found[sign] = f"{sign} {value:g}"
    return ", ".join(found.values())


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return "none"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, default=dict)}`".replace('"', "")


def _documented(kind: type) -> dict[str, str]:
    """The texts below the fields of a class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            texts[field.target.id] = inspect.cleandoc(str(text.value.value))
    return texts


def _table(rows: Any) -> str:
    lines = ["| setting | default | range | |", "|---|---|---|---|"]
    for path, default, allowed, text in rows:
        said = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{path}` | {default} | {allowed} | {' '.join(said.split())} |")
    return "\n".join(lines)


def options_page() -> str:
    """The help of every verb, as a terminal of 80 columns shows it."""
    parts = [
        "# Options of every command",
        f"What `--help` shows. {_WRITTEN} [Command line](cli.md) tells what each command is for.",
    ]
    for verb in [("",), *((one.name,) for one in VERBS), *(("bench", one) for one in ("ingest", "show"))]:
        name = " ".join(("exacto", *verb)).strip()
        parts.append(f"## {name}\n\n```text\n{_help(*filter(None, verb))}\n```")
    return "\n\n".join(parts) + "\n"


def _help(*verb: str) -> str:
    shown = io.StringIO()
    # The name of the program and the width; no proxy is named.
    with patch.dict(os.environ, {"COLUMNS": "80"}), redirect_stdout(shown), suppress(SystemExit):
        os.environ.pop("EXACTO_URL", None)
        main([*verb, "--help"])
    return "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())


def openapi() -> str:
    """The routes of the API as OpenAPI."""
    app = FastAPI(title="exacto_plugin", version="1", description="See docs/reference/api.md.")
    runtime = Runtime(Settings())
    try:
        app.include_router(api_router(runtime))
        found: dict[str, Any] = app.openapi()
    finally:
        runtime.shutdown.flush_and_close()
    # How FastAPI itself refuses what does not fit the parameters differs from version to version.
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def provider_schema() -> str:
    """The ``provider`` object of requests as JSON Schema."""
    schema = _plain(ProviderObject.model_json_schema())
    fields = schema["properties"]
    number = {"exclusiveMinimum": 0, "type": "number"}
    fields["sort"]["anyOf"].append({"enum": schema["$defs"]["SortPreference"]["properties"]["by"]["enum"]})
    fields["preferred_min_throughput"]["anyOf"].append(number)
    fields["preferred_max_latency"]["anyOf"].append(number)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "provider"}
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"


def _plain(schema: Any) -> Any:
    """Without names made from names; bounds as JSON Schema calls them; empty lists ask for nothing and are allowed."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"ge": "minimum", "gt": "exclusiveMinimum"}
    found = {renamed.get(key, key): _plain(value) for key, value in schema.items() if key != "minItems"}
    if isinstance(found.get("title"), str):
        del found["title"]
    if "description" in found:
        found["description"] = " ".join(str(found["description"]).replace("``", "`").split())
    return found


PAGES: Final[dict[str, Callable[[], str]]] = {
    "provider.schema.json": provider_schema,
    "all-settings.md": settings_page,
    "cli-options.md": options_page,
    "openapi.json": openapi,
    **{f"../images/badges/{name}.svg": partial(badges.picture, *fact) for name, fact in badges.facts().items()},
}

if __name__ == "__main__":
    for page, made in PAGES.items():
        (REFERENCE / page).write_text(made(), encoding="utf-8")
