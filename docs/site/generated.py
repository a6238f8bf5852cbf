"""Parts of the documentation that are made from the registries, the options and the results."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import pathlib
import re
import tomllib
from collections.abc import Iterable
from typing import Any

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.core.options import OptionError
from metajax.experiments import table_definition
from metajax.experiments.table_cells import cells
from metajax.run import catalogue
from metajax.run.tables import Grid, markdown
from metajax.tasks import FAMILIES

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
KINDS = {
    "gradient": "Gradient steps",
    "memory": "Memory",
    "imitation": "Demonstrations",
    "fewshot": "Comparison of examples",
    "optimizers": "Learned optimisers",
    "q": "Q-learning",
    "actor_critic": "Actor-critic",
    "settings": "Learned settings",
    "objectives": "Learned objectives",
    "classical": "Classical methods",
    "plane": "The plane",
    "control": "Control",
    "bandits": "Bandits",
    "tabular": "Tabular processes",
    "grid": "Grids",
    "supervised": "Labelled examples",
}
"""Titles of the directories of algorithms and families."""

_CORE = {
    "Training and testing": ("algorithms", "composition", "training", "evaluation"),
    "Runs and policies": ("run.loading", "run.checkpoints", "exporting"),
    "Trials": (
        *("data.fresh", "data.continuing", "data.lifetime", "data.few_shot", "data.demonstrated"),
    ),
    "Task families": ("core.family",),
    "Learners and problems": ("core.types", "core.problem", "core.replay"),
    "Meta-algorithms": ("core.algorithm", "core.layout", "core.options"),
}
_PLACE = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def loaded(page: str) -> list[str]:
    """What a page of HTML or CSS loads from another host; its links do not count."""
    tags = r"""<(?!a\b)\w[^>]*?\s(?:src|href|srcset)=["']?(?:https?:)?//[^>]*>"""
    return re.findall(tags + r"""|(?:url\(|@import )["']?(?:https?:)?//[^)"';]*""", page)


def by_kind(registry: Any) -> dict[str, list[str]]:
    """Names of a registry by the title of their kind, in the order of ``KINDS``."""
    found: dict[str, list[str]] = {title: [] for title in KINDS.values()}
    for name in registry.names():
        found[KINDS[registry.get(name).__module__.split(".")[2]]].append(name)
    return {title: names for title, names in found.items() if names}


def algorithm(name: str, text: str) -> str:
    """The page of an algorithm: what is written by hand, then what is generated."""
    title, _, rest = text.partition("\n")
    if title != f"# {name}":
        raise ValueError(f"docs/algorithms/{name}.md begins with {title!r}; allowed: '# {name}'")
    cls = ALGORITHMS.get(name)
    configs = [
        f"metajax train {path.relative_to(ROOT)}"
        for path in sorted((ROOT / "configs").glob("*.toml"))
        if tomllib.loads(path.read_text(encoding="utf-8"))["algorithm"]["name"] == name
    ]
    trained = "Nothing is trained across tasks, so there is no config: name it in a table, or in "
    parts = {
        "Source": re.sub(r"^Sources?: ", "", _source(cls)),
        "Configs": _commands(configs) if configs else f"{trained}`metajax.make`.",
        "Measured": _measured(name),
        "Options": _options(catalogue.options_of(cls)),
    }
    made = (f"## {heading}\n\n{part}" for heading, part in parts.items() if part)
    lead = f"*{catalogue.listed(name)['doc']}*"
    return "\n\n".join([title, lead, rest.strip(), *made])


def algorithms() -> str:
    """The list of all algorithms."""
    text = [
        "# Algorithms",
        "Each page has the equation, the source and how the code deviates from it, configs, "
        "measured rows of tables, and all options.",
    ]
    for kind, names in by_kind(ALGORITHMS).items():
        rows = []
        for name in names:
            tables = (f"[{one}](../results.md#{_places()[one][0]})" for one in _rows_of(name))
            doc = catalogue.listed(name)["doc"]
            rows.append([f"[`{name}`]({name}.md)", doc, ", ".join(tables) or "not yet"])
        text += [f"## {kind}", markdown(Grid(["name", "", "measured in"], rows))]
    return "\n\n".join(text)


def families() -> str:
    """The page of all task families."""
    text = [
        "# Task families",
        "A family is a distribution of tasks over one environment or one source of labelled "
        "examples. `metajax.tasks.make(name, **options)` makes one, and `[family]` in a config. "
        "Any gymnax environment is one through [`from_gymnax`](tutorials/environment.md).",
    ]
    for kind, names in by_kind(FAMILIES).items():
        text.append(f"## {kind}")
        for name in names:
            cls, pictures = FAMILIES.get(name), sorted(DOCS.glob(f"images/{name}-*.png"))
            drawn = (f"![{one.stem}](images/{one.name}){{ width=640 }}" for one in pictures)
            parts = [catalogue.listed(name)["doc"], *_paragraphs(cls)[1:], _facts(name), *drawn]
            options = _options(catalogue.options_of(cls))
            text += [f"### {name}", *filter(None, parts), options]
    return "\n\n".join(text)


def reference() -> dict[str, str]:
    """Pages of the public names of the package, by path."""
    homes, title = metajax._NAMES, "# metajax"
    left = {f"metajax.{one}" for modules in _CORE.values() for one in modules} ^ homes.keys()
    if left:
        raise ValueError(f"metajax._NAMES and the reference differ in modules: {sorted(left)}")
    text = [title, "The names of `import metajax`. Other pages have those of its rooms."]
    for heading, modules in _CORE.items():
        text.append(f"## {heading}")
        text += [
            _block(f"metajax.{one}.{name}") for one in modules for name in homes[f"metajax.{one}"]
        ]
    pages = {"reference/index.md": "\n\n".join(text)}
    for room in metajax._ROOMS:
        pages[f"reference/{room}.md"] = _room(room)
    return pages


def _room(room: str) -> str:
    """The page of a public package, its names by the module that defines them."""
    tree = _parsed(room)
    homes = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("metajax.")
        for alias in node.names
    }
    by_module: dict[str, list[str]] = {}
    for name in public(room):
        home = homes.get(name, f"metajax.{room}.{name}")
        by_module.setdefault(home.rpartition(".")[0], []).append(home)
    text = [f"# metajax.{room}", _lead(tree)]
    for home in sorted(by_module):
        if home != f"metajax.{room}":
            module = home.removeprefix("metajax.")
            text.append(f"## {module.removeprefix(f'{room}.')}\n\n{_lead(_parsed(module))}")
        text += [_block(one) for one in sorted(by_module[home], key=str.lower)]
    return "\n\n".join(text)


def public(room: str) -> list[str]:
    """The names in ``__all__`` of a public package."""
    for node in _parsed(room).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise ValueError(f"metajax.{room} has no __all__")


def _parsed(module: str) -> ast.Module:
    """A module of the package, which is not imported."""
    path = ROOT / "metajax" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _lead(module: ast.Module) -> str:
    """The first paragraph of a module's docstring."""
    return (ast.get_docstring(module) or "").split("\n\n")[0]


def _block(path: str) -> str:
    return f"::: {path}\n    options: {{ heading_level: 3 }}"


def _source(cls: type) -> str:
    """The paragraphs of a docstring that name its source and deviations."""
    return "\n\n".join(one for one in _paragraphs(cls) if re.match("Sources?:", one))


def _paragraphs(cls: type) -> list[str]:
    """The paragraphs of a docstring before its attributes."""
    text = re.split(r"^(?:Args|Attributes):$", inspect.getdoc(cls) or "", flags=re.MULTILINE)[0]
    return re.split(r"\n\s*\n", text.strip())


def _commands(lines: Iterable[str]) -> str:
    return "\n".join(["```", *lines, "```"])


def _options(options: list[dict[str, str]]) -> str:
    if not options:
        return "No options."
    rows = [
        [f"`{one['name']}`", f"`{one['default']}`", catalogue.allowed(one), one["doc"]]
        for one in options
    ]
    return markdown(Grid(["option", "default", "allowed", "meaning"], rows))


def _facts(name: str) -> str:
    """What a built family tells of itself."""
    from metajax.core.family import DataFamily, Discrete

    try:
        family = metajax.tasks.make(name)
    except OptionError:  # it needs files of the reader's own
        return ""
    spec = family.spec
    if isinstance(family, DataFamily):
        kind = "classes" if spec.classes else "outputs"
        best = "is computed" if family.bayes else "is not known"
        told = f"Inputs {_shape(spec.input_shape)}, {spec.num_outputs} {kind}."
        return f"{told} The best predictor that sees the support set {best}."
    space = spec.action_space
    discrete = isinstance(space, Discrete)
    actions = f"{space.num_actions} actions" if discrete else f"actions of {space.size} numbers"
    oracle = "An oracle demonstrates." if family.oracle else "No oracle demonstrates."
    returns = {"random": spec.random_return, "informed": spec.oracle_return}
    known = [f"{who} {value:.4g}" for who, value in returns.items() if value is not None]
    expected = f" Expected return of an episode: {', '.join(known)}." if known else ""
    length = f"episodes of {spec.episode_length} steps, {spec.episodes_per_trial} in a trial"
    told = f"Observations {_shape(spec.observation_shape)}, {actions}, {length}."
    return f"{told} {oracle}{expected}"


def _shape(shape: tuple[int, ...]) -> str:
    return f"`[{', '.join(map(str, shape))}]`"


def _measured(name: str) -> str:
    """The rows of an algorithm in the tables of Results."""
    rows = _rows_of(name)
    if not rows:
        return "Not measured yet."
    found = []
    for table, labels in rows.items():
        anchor, shown = _places()[table]
        title = table_definition.load(table, ROOT / table_definition.DIRECTORY).title
        found.append(f"[{title}](../results.md#{anchor})\n\n{_only(shown, labels)}")
    return "\n\n".join(found)


def _rows_of(name: str) -> dict[str, set[tuple[str | None, str]]]:
    return {
        table: labels
        for table, labels in _rows().get(name, {}).items()
        if table in _places() and _only(_places()[table][1], labels)
    }


@functools.cache
def _rows() -> dict[str, dict[str, set[tuple[str | None, str]]]]:
    """Of each algorithm the heading and the label of its rows, by table.

    Weights that were not trained count for none, unless the algorithm trains nothing.
    """
    found: dict[str, dict[str, set[tuple[str | None, str]]]] = {}
    directory = ROOT / table_definition.DIRECTORY
    for name in table_definition.names(directory):
        table, block = table_definition.load(name, directory), None
        if not isinstance(table, table_definition.Table):
            continue
        blocks = {row.name: (block := row.block or block) for row in table.rows}
        one_seed = tuple(dataclasses.replace(row, seeds=(0,)) for row in table.rows)
        for cell in cells(dataclasses.replace(table, rows=one_seed), "full"):
            trains = getattr(cell.config.algorithm.options, "learns", True)
            if not (cell.row.reference or (cell.row.untrained and trains)):
                for each in (cell.config.algorithm, cell.measured.algorithm):
                    rows = found.setdefault(each.name, {}).setdefault(name, set())
                    rows.add((blocks[cell.row.name], cell.row.label))
    return found


@functools.cache
def _places() -> dict[str, tuple[str, str]]:
    """The heading above each table of Results, as an anchor, and the table."""
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    found = {}
    for place in _PLACE.finditer(text):
        heading = re.findall(r"^#+ (.*)$", text[: place.start()], re.MULTILINE)[-1]
        anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        found[place[1]] = (anchor, place[2].strip())
    return found


def _only(shown: str, labels: set[tuple[str | None, str]]) -> str:
    """A table with some of its rows; nothing where it has none of them.

    What a paper states of a row, and both rows of one that is tuned, go with it.
    """
    table, _, foot = shown.partition("\n\n")
    header, rule, *rows = table.splitlines()
    kept, heading, block, measured = [], None, None, False
    for row in rows:
        label = row.split("|")[1].strip()
        if re.fullmatch(r"\*[^*].*\*", label):
            heading, block = row, label.strip("*")
            continue
        if (block, _of(label)) in labels:
            kept += [heading, row] if heading else [row]
            heading = None
            has_numbers = any(map(str.isdigit, row.partition(label)[2]))
            measured |= has_numbers and not label.endswith("(published)")
    names = {label for _, label in labels}
    foot = re.sub(
        r"; ([^;]*): [\w ]+ seeds?,[^;]*each",
        lambda one: one[0] if _of(one[1]) in names else "",
        foot,
    )
    return "\n".join([header, rule, *kept, "", foot]) if measured else ""


def _of(label: str) -> str:
    """The label of a row without what stands behind it in a table."""
    return re.sub(r" \(tuned on [^)]*\)$|, [^,]* \(published\)$", "", label)
