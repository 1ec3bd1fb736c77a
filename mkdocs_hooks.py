"""Hooks of mkdocs: the site begins with README.md, and links out of docs/ lead to copies within the site.

README, CHANGELOG, CONTRIBUTING and LICENSE become pages. Every other file that a page links to is copied under
``source/``, and a folder gets a list of its files. Without this, such links work in the repository only.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent
PAGES: Final = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "license.md",
}
"""Path in the repository -> name within the site; pages of docs/ keep theirs."""
SOURCE: Final = "source/"
"""The folder of copied files."""

_ORIGIN: Final = {name: path for path, name in PAGES.items()}
_LINK: Final = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and the files that pages link to."""
    files.remove(next(file for file in files if file.src_uri == "README.md"))
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in PAGES}
    texts["LICENSE"] = f"# Licence\n\n```text\n{texts['LICENSE']}```\n"
    for path, text in texts.items():
        files.append(File.generated(config, PAGES[path], content=text))
    linked = {target for file in files.documentation_pages() for target in _outside(file)}
    folders = {path for path in linked if (ROOT / path).is_dir()}
    for path in sorted(linked - folders | {one for folder in folders for one in _files_of(folder)}):
        files.append(File.generated(config, _place(path), content=(ROOT / path).read_bytes()))
    for folder in sorted(folders):
        files.append(File.generated(config, _place(folder), content=_listing(folder)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page to names within the site."""
    origin = _origin(page.file.src_uri)
    folder = posixpath.dirname(page.file.src_uri)

    def rewritten(found: re.Match[str]) -> str:
        path = _resolved(origin, found[1])
        return posixpath.relpath(_place(path), folder or ".")

    return _LINK.sub(rewritten, markdown)


def _origin(src_uri: str) -> str:
    return _ORIGIN.get(src_uri, f"docs/{src_uri}")


def _resolved(origin: str, target: str) -> str:
    """Return the path in the repository that a link of a page means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _place(path: str) -> str:
    """Return the name within the site of a path in the repository."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"{SOURCE}{path}/index.html"
    # Markdown from elsewhere is shown as it is: only docs/ is made into pages.
    return f"{SOURCE}{path}{'.txt' if path.endswith('.md') else ''}"


def _outside(file: File) -> set[str]:
    """Return the paths outside docs/ that a page links to and that are no pages."""
    targets = {_resolved(_origin(file.src_uri), target) for target in _LINK.findall(file.content_string)}
    return {path for path in targets if path not in PAGES and not path.startswith("docs/")}


def _files_of(folder: str) -> list[str]:
    files = sorted(one for one in (ROOT / folder).rglob("*") if one.is_file() and "__pycache__" not in one.parts)
    return [one.relative_to(ROOT).as_posix() for one in files]


def _listing(folder: str) -> str:
    """Return a page with links to the files of a folder."""
    names = [_place(one).removeprefix(f"{SOURCE}{folder}/") for one in _files_of(folder)]
    items = "\n".join(f'<li><a href="{html.escape(name)}">{html.escape(name)}</a></li>' for name in names)
    title = html.escape(folder)
    head = f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>"
    return f"{head}\n<ul>\n{items}\n</ul>\n"
