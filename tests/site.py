"""Looks for dead links in the built site, those to copied files included; `make docs` runs it.

python -m tests.site build/site
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Links(HTMLParser):
    """The links and anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to, and its own name."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.targets.add(value)
            if value and name in ("id", "name"):
                self.anchors.add(value)


def _read(file: Path) -> _Links:
    links = _Links()
    links.feed(file.read_text(encoding="utf-8"))
    return links


def dead_links(site: Path) -> list[str]:
    """Return the links within a site that lead to no file or to no anchor, as ``page: target``."""
    pages = {file: _read(file) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, links in pages.items():
        if file.name == "404.html":  # its links are absolute: it is shown for any address
            continue
        for target in sorted(links.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            to = to / "index.html" if to.is_dir() else to
            anchor = unquote(parts.fragment)
            known = pages.get(to)
            if not to.is_file() or (anchor and known is not None and anchor not in known.anchors):
                found.append(f"{file.relative_to(site)}: {target}")
    return found


def main(arguments: list[str]) -> int:
    """Print the dead links of a built site; status 1 if there are any."""
    (folder,) = arguments
    dead = dead_links(Path(folder).resolve())
    sys.stdout.write("".join(f"dead link: {one}\n" for one in dead))
    return 1 if dead else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
