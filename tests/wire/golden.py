"""The sections and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.wire import api, commands, engine, public, shared, store, values

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = Path(__file__).parents[1] / "data" / "wire"

SECTIONS: dict[str, Callable[[], Any]] = {
    section.__name__: section
    for module in (values, engine, store, shared, public, commands, api)
    for section in module.SECTIONS
}


def file_of(section: str) -> Path:
    """Where a section is frozen."""
    return FILES / f"{section}.json"


def frozen(section: str) -> Any:
    """What was frozen of a section; None when nothing was."""
    return json.loads(file_of(section).read_text()) if file_of(section).exists() else None


def current(section: str) -> Any:
    """What a section is now, as JSON gives it back."""
    return json.loads(json.dumps(SECTIONS[section]()))


def write(section: str, content: Any) -> None:
    """Freeze a section."""
    FILES.mkdir(parents=True, exist_ok=True)
    file_of(section).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
