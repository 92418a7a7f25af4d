"""SVG figures as a part of a page: unique names, words, colours of its theme."""

from __future__ import annotations

import html
import re
from typing import Final

from cdstats.core.columns import printable
from cdstats.render.figures import style

THEMED: Final = {
    style.INK: "ink",
    style.MUTED: "muted",
    style.GRID: "grid",
    style.PAPER: "paper",
    style.BLUE: "blue",
    style.VERMILION: "vermilion",
    style.GREEN: "green",
    style.ORANGE: "orange",
    style.SKY: "sky",
    style.PURPLE: "purple",
}
"""Colours that a page sets for its theme, by the names of their variables."""
_NAME: Final = re.compile(r'(\bid="|url\(#|href="#)')
_SIZE: Final = re.compile(r' (?:width|height)="[\d.]+pt"')


def inline_svg(text: str, name: str, title: str, description: str) -> str:
    """An SVG file as an element of a page.

    Args:
        text: The file, as matplotlib writes it.
        name: A name that no other figure of the page has.
        title: What the figure shows, for those who cannot see it.
        description: What it says.
    """
    start = text.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    body = _NAME.sub(rf"\g<1>{name}-", body)
    for colour, variable in THEMED.items():
        body = body.replace(colour, f"var(--{variable})")
    head, _, rest = body.partition(">")
    head = _SIZE.sub("", head)
    words = (
        f'<title id="{name}-title">{html.escape(printable(title))}</title>'
        f'<desc id="{name}-desc">{html.escape(printable(description))}</desc>'
    )
    role = f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    return f"{head} {role}>{words}{rest.strip()}"
