"""HTML pages made of elements, so that whatever is text stays text."""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

Element = ET.Element


def tag(name: str, /, *children: Element | str | None, **attributes: object) -> Element:
    """An element; ``class_`` and ``aria_label`` are the attributes class and aria-label."""
    spelled = {key.rstrip("_").replace("_", "-"): str(one) for key, one in attributes.items()}
    made = ET.Element(name, spelled)
    for child in children:
        if isinstance(child, ET.Element):
            made.append(child)
        elif child is not None and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child is not None:
            made.text = (made.text or "") + child
    return made


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    """A table whose first column names the rows; it scrolls where the page is narrow."""
    head = tag("tr", *(tag("th", one, scope="col") for one in headers))
    body = (
        tag("tr", tag("th", first, scope="row"), *(tag("td", one) for one in rest))
        for first, *rest in rows
    )
    inside = (tag("caption", caption), tag("thead", head), tag("tbody", *body))
    # With a stop for the keyboard, which could not scroll it otherwise.
    return tag(
        "div", tag("table", *inside), class_="scroll", tabindex=0, role="region", aria_label=caption
    )


def folded(summary: str, *children: Element | str) -> Element:
    """Something that opens where it is clicked."""
    return tag("details", tag("summary", summary), *children)


def page(title: str, style: str, script: str, *body: Element) -> bytes:
    """A whole page that loads nothing and runs its own script alone.

    Args:
      title: Of the window.
      style, script: CSS and JavaScript, which the policy of the page names by their digests:
        nothing else that might have come into it would be executed.
      body: What is in it.
    """
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )
    whole = tag("html", head, tag("body", *body, tag("script", script)), lang="en-GB")
    return b"<!doctype html>\n" + ET.tostring(whole, "us-ascii", method="html")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
