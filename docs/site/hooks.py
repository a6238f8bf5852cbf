"""What MkDocs calls while it builds the site."""

from __future__ import annotations

import html
import pathlib
import posixpath
import re
import sys
from typing import Any

from latex2mathml.converter import convert  # pyright: ignore[reportMissingImports]
from mkdocs.exceptions import PluginError  # pyright: ignore[reportMissingImports]
from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import generated  # pyright: ignore[reportMissingImports]
from generated import ALGORITHMS, DOCS, FAMILIES, ROOT  # pyright: ignore[reportMissingImports]

# Documents outside of docs/, by where the site has them.
_OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# Pages on which the name of an algorithm or a family leads to it.
_LINKED = ("index.md", "choosing.md")


def on_config(config: Any) -> Any:
    """Fills the places of the navigation that lists of names stand for."""
    kinds = generated.by_kind(ALGORITHMS).items()
    algorithms = [{kind: [f"algorithms/{one}.md" for one in names]} for kind, names in kinds]
    rooms = [{f"metajax.{path[10:-3]}": path} for path in list(generated.reference())[1:]]
    filled = {
        "algorithms": ["algorithms/index.md", *algorithms],
        "reference": ["reference/index.md", *rooms],
    }
    config.nav = _filled(config.nav, filled)
    return config


def _filled(nav: list[Any], places: dict[str, list[Any]]) -> list[Any]:
    result = []
    for one in nav:
        if isinstance(one, dict):
            ((title, inside),) = one.items()
            inside = _filled(inside, places) if isinstance(inside, list) else inside
            result.append(
                {title: places.get(inside, inside) if isinstance(inside, str) else inside}
            )
        elif one != "reliability.md" or (DOCS / one).exists():
            result.append(one)
    return result


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are not files of docs/.

    Raises:
      PluginError: for an algorithm without a page, and a page without an algorithm.
    """
    pages = {path.stem for path in (DOCS / "algorithms").glob("*.md")}
    if differing := sorted(pages ^ set(ALGORITHMS.names())):
        raise PluginError(f"docs/algorithms: one page an algorithm; differing: {differing}")
    made = {target: (ROOT / name).read_text("utf-8") for name, target in _OUTSIDE.items()}
    made |= {"algorithms/index.md": generated.algorithms(), "families.md": generated.families()}
    for path, text in (made | generated.reference()).items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Adds the generated part of an algorithm's page, and leads links to where they lead here."""
    path = page.file.src_uri
    kind, _, name = path.removesuffix(".md").rpartition("/")
    if kind == "algorithms" and name != "index":
        markdown = generated.algorithm(name, markdown)
    if path == "index.md":
        page.meta["hide"] = ["navigation"]  # which is one entry, itself
    outside = path in _OUTSIDE.values()
    here = ROOT if outside else (DOCS / path).parent
    link = r"(!?)\[([^]]*)\]\(([^)\s:#]+)(#[^)]*)?\)"
    markdown = re.sub(link, lambda one: _link(one, here, path), markdown)
    if path in _LINKED:
        markdown = re.sub(r"(?<![\[`])`([a-z0-9-]+)`(?![`\]])", _named, markdown)
    return markdown


def _named(found: re.Match[str]) -> str:
    name = found[1]
    if name in ALGORITHMS:
        return f"[`{name}`](algorithms/{name}.md)"
    return f"[`{name}`](families.md#{name})" if name in FAMILIES else found[0]


def _link(found: re.Match[str], here: pathlib.Path, path: str) -> str:
    """A link as the site has it: to another page, or without one nothing but its words."""
    image, words, target, anchor = found.groups(default="")
    whole = pathlib.Path(posixpath.normpath(here / target))
    whole = whole / "index.md" if whole == DOCS / "algorithms" else whole
    within = str(whole.relative_to(ROOT))
    if within in _OUTSIDE:
        within = _OUTSIDE[within]
    elif within.startswith("docs/"):
        within = within.removeprefix("docs/")
    else:
        return words
    return f"{image}[{words}]({posixpath.relpath(within, posixpath.dirname(path) or '.')}{anchor})"


def on_page_content(content: str, **_: Any) -> str:
    """Turns formulae into MathML, so that browsers need no script for them."""

    def formula(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        return convert(html.unescape(found[2]), display=display)

    return re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        formula,
        content,
        flags=re.DOTALL,
    )


def on_post_build(config: Any) -> None:
    """Refuses a site that loads anything from another host.

    Raises:
      PluginError: naming the pages, and what they load.
    """
    for path in sorted(pathlib.Path(config.site_dir).rglob("*.*")):
        if path.suffix in (".css", ".html") and (
            loaded := generated.loaded(path.read_text("utf-8"))
        ):
            raise PluginError(f"{path} loads from another host: {loaded[0][:200]}")
