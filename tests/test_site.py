"""The check of the built site's links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from tests.site import dead_links, main
from tests.support.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_dead_links_are_found(tmp_path: Path) -> None:
    """A missing file and a missing anchor; what is there, and other sites, are none."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "results.txt").write_text("1\n", encoding="utf-8")
    (tmp_path / "a.html").write_text('<h1 id="top">a</h1><img src="none.png">', encoding="utf-8")
    links = ("a.html#top", "source/results.txt", "https://example.com/x", "../out.txt", "a.html#none")
    text = "".join(f'<a href="{link}">x</a>' for link in links)
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    assert dead_links(tmp_path) == ["a.html: none.png", "index.html: ../out.txt", "index.html: a.html#none"]
    assert main([str(tmp_path)]) == 1


def test_the_site_is_checked_when_it_is_made() -> None:
    """`make docs` ends with the check, and mkdocs takes a dead link for an error."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndocs: ")[2].partition("\n\n")[0]
    assert re.search(r"mkdocs build --strict\n\t.+ -m tests\.site build/site", recipe)
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["validation"]["links"] == {"not_found": "warn", "anchors": "warn"}
    assert settings["hooks"] == ["mkdocs_hooks.py"]
