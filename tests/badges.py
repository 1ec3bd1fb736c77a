"""README's badges: facts of the package as small pictures of its own, so that no page asks another site for them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from exacto_plugin import __version__
from tests.compat.versions import LISTED

_ROOT: Final = Path(__file__).parents[1]
_LETTER_PX: Final = 6.6
"""Width of a letter at 11 px, the largest mean of a text in DejaVu Sans (6.5, measured in Chromium), rounded up."""


def facts() -> dict[str, tuple[str, str]]:
    """Label and value of each badge, by the name of its file."""
    project: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [one.rpartition(" :: ") for one in project["classifiers"]]
    stage = next(last for kind, _, last in named if kind == "Development Status").partition(" - ")[2].lower()
    pythons = [last for kind, _, last in named if kind == "Programming Language :: Python" and "." in last]
    return {
        "version": ("version", f"{__version__} ({stage})"),
        "python": ("Python", f"{pythons[0]} to {pythons[-1]}"),
        "litellm": ("tested with LiteLLM", f"{LISTED[0]} to {LISTED[-1]}"),
        "licence": ("licence", project["license"]),
    }


def picture(label: str, value: str) -> str:
    """A badge as SVG: the label on grey, the value on green."""
    left, right = (round(len(text) * _LETTER_PX) + 12 for text in (label, value))
    words = f"{label}: {value}"
    size = f'width="{left + right}" height="20"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{words}">
<title>{words}</title>
<rect width="{left}" height="20" fill="#444"/>
<rect x="{left}" width="{right}" height="20" fill="#1f6f43"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2:g}" y="14">{label}</text>
<text x="{left + right / 2:g}" y="14">{value}</text>
</g>
</svg>
"""
