"""Checks that every local link in the Markdown files leads somewhere, headings included."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)[^)]*\)")
_HEADING = re.compile(r"^#+ +(.+?)(?: +#+)?$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def pages(root: Path) -> list[Path]:
    """The Markdown files that people read: those at the top, and everything below docs/."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def anchors(text: str) -> set[str]:
    """The anchors that the headings of a page get on the usual code hosts."""
    outside_code = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in _HEADING.findall(outside_code):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        anchor = words.replace(" ", "-")
        number = 0
        while (numbered := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(numbered)
    return found


def dead_links(page: Path) -> Iterator[str]:
    """One line for every local link of *page* that leads nowhere."""
    for target in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if _ELSEWHERE.match(target):
            continue
        name, _, anchor = target.partition("#")
        aim = (page.parent / name) if name else page
        if not aim.exists():
            yield f"{page}: {target}: no such file"
        elif anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text(encoding="utf-8")):
            yield f"{page}: {target}: no such heading"


def main(root: Path = ROOT) -> int:
    """Print every dead link below *root*; 1 if there is any."""
    found = pages(root)
    dead = [line for page in found for line in dead_links(page)]
    print("\n".join(dead) if dead else f"the local links of {len(found)} pages are alive")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
