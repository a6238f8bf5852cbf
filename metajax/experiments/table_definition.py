"""The definition of a table: one TOML file, read strictly and without importing jax.

A table of methods has columns (settings of a family) and rows (methods)::

    title = "Bernoulli bandits"
    source = "Duan et al. 2016, Table 1"
    metric = "total"
    family = { name = "bernoulli-bandit" }

    [[columns]]
    name = "n=10,k=5"
    family = { num-pulls = 10, num-arms = 5 }

    [[rows]]
    name = "ucb1"
    label = "UCB1"
    algorithm = { name = "ucb1" }
    tune = { exploration = [0, 0.5, 1] }
    published = [6.7]
    overrides."n=10,*" = { algorithm = { ties = "first" } }

    [profiles]
    quick = { num-tasks = 20000 }
    full = { seeds = [0, 1, 2] }

Settings come in four layers, each laid over those before it: table, column, row, and the row's
``overrides`` for the column. Options of an ``algorithm`` without a name hold for every algorithm
that a later layer names. What no layer sets comes from the row's ``config`` file, else is the
default. A profile chooses sizes only. Names of rows and columns may be patterns, ``*`` for any
characters; of several that fit, the last counts.

A table that extends another takes its columns, rows, settings and results, and adds rows or
columns of its own behind them, which its profiles hold as well::

    extends = "rl2-bandits"

    [[rows]]
    name = "mine"
    ...

A table of speeds has a title and ``results``, files of records of ``metajax bench`` by label.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from metajax.core import files
from metajax.core.kinds import show, words
from metajax.core.options import (
    AtLeast,
    AtMost,
    OptionError,
    Options,
    build,
    check,
    kebab,
    suggest,
)
from metajax.run import shipped

Metric = Literal[
    "total",
    "regret",
    "normalized",
    "after-last-step",
    "success",
    "error-after-last-step",
    "per-episode",
    "after-steps",
    "error-after-steps",
    "learning-curve",
]
Better = Literal["higher", "lower"]
Decimals = Annotated[int, AtLeast(0), AtMost(9)]
Seeds = tuple[Annotated[int, AtLeast(0)], ...]
AFTER_STEPS = ("after-steps", "error-after-steps")
VECTORS = ("per-episode", *AFTER_STEPS, "learning-curve")
PROFILES = ("quick", "full")
DIRECTORY = pathlib.Path("benchmarks", "tables")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer(Options):
    """One layer of a cell's settings: options by section of a config.

    Attributes:
      train: options of training; a row that has them is trained.
      finetune: options of the algorithm that take the place of those of training when the
        trained theta is measured. Another ``name`` starts them anew; the name of the trained
        algorithm returns to its options.
    """

    family: dict = dataclasses.field(default_factory=dict)
    algorithm: dict = dataclasses.field(default_factory=dict)
    train: dict | None = None
    evaluate: dict = dataclasses.field(default_factory=dict)
    finetune: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column(Layer):
    """One setting in which every method is measured; what it leaves out is the table's."""

    name: str
    metric: Metric | None = None
    decimals: Decimals | None = None
    better: Better | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.metric not in VECTORS, "metric", self.metric, "one number a trial in a column")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(Layer):
    """One method, what a paper states of it, or both.

    Attributes:
      name: name on the command line and in records.
      label: name for readers.
      block: heading above this row and those that follow it.
      config: a file of ``configs/`` to start from; the method is trained as the file says.
      untrained: measure the initial weights of ``config`` or ``algorithm``.
      reference: in place of a method the exact expectation of the best policy that knows the
        task, or of the uniform random one; of labelled examples the score of the best
        predictor that sees the same support sets, of ``num-streams`` examples.
      tune: one option of an untrained algorithm, and the values to choose from.
      seeds: default to the profile's. A method that is not trained has one seed.
      columns: columns in which the row is measured. Default: all.
      published: what a paper states for each column, or for each number of a metric that
        has many: a number, ``[number, half width]`` or ``"none"``.
      source: the paper. Default: the table's.
      overrides: the row's layer in a column, by column.
    """

    name: str
    label: str
    block: str | None = None
    config: str | None = None
    untrained: bool = False
    reference: Literal["optimal-policy", "random-policy", "optimal-predictor"] | None = None
    tune: dict = dataclasses.field(default_factory=dict)
    seeds: Seeds | None = None
    columns: tuple[str, ...] = ("*",)
    published: tuple[float | tuple[float, float] | None, ...] = ()
    source: str | None = None
    overrides: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check("/" not in self.name, "name", self.name, "a name without /")
        has_weights = self.config or (self.algorithm and self.train is None)
        allowed = "only beside config, or an algorithm without train"
        check(has_weights or not self.untrained, "untrained", True, allowed)
        alone = not (self.reference and (self.algorithm or self.config))
        check(alone, "reference", self.reference, "only without algorithm and config")
        allowed = "algorithm, config or reference for a row that is measured, else published"
        check(self.is_measured or self.published, "algorithm", "nothing", allowed)
        check(len(self.tune) <= 1, "tune", sorted(self.tune), "one option")
        for option, values in self.tune.items():
            fits = isinstance(values, list) and len(values) > 1
            check(fits, f"tune.{option}", values, "a list of at least two values")
        check(not (self.tune and self.is_trained), "tune", self.tune, "only without train, config")

    @property
    def is_measured(self) -> bool:
        """Whether the row has cells to run."""
        return bool(self.algorithm or self.config or self.reference)

    @property
    def competes(self) -> bool:
        """Whether the row may be the best: it sees no more of a task than others."""
        return not (self.reference or self.family.get("reveal-task"))

    @property
    def is_trained(self) -> bool:
        """Whether the method is trained before it is measured."""
        return self.train is not None or (self.config is not None and not self.untrained)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile(Options):
    """How much of a table is run.

    Attributes:
      columns: columns that are run. Default: all.
      rows: rows and ROW/COLUMN cells that are run. Default: all.
      seeds: seeds of methods that are trained.
      num_tasks: held-out tasks, a number or numbers by row or ROW/COLUMN.
      num_iterations: likewise of training; equal ``decay-iterations`` of the algorithm follow.
    """

    columns: tuple[str, ...] = ("*",)
    rows: tuple[str, ...] = ("*",)
    seeds: Seeds = (0,)
    num_tasks: int | dict = dataclasses.field(default_factory=dict)
    num_iterations: int | dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.seeds), "seeds", [], "at least one")

    def size(self, option: str, *names: str) -> Any:
        """``num_tasks`` or ``num_iterations`` of a cell of these names; None if not set."""
        given = getattr(self, option)
        sizes = given if isinstance(given, dict) else {"*": given}
        return next((sizes[one] for one in reversed(sizes) if chosen([one], *names)), None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Layer):
    """A table of methods.

    Attributes:
      source: the paper and table that it follows.
      metric: ``total`` reward of a trial; ``regret`` against the best policy that knows the
        task; ``normalized``, the total as a fraction of that policy's; ``after-last-step``, the
        score after the last adaptation; ``success``, the fraction of tasks in which that is at
        least ``threshold``; ``per-episode`` and ``after-steps``, a number for each
        episode of a trial or after 0..K adaptations, in place of columns; ``learning-curve``,
        the numbers of ``learning_curves.Summary``. With ``error-`` before them the metrics after
        steps are minus the score: the squared error of labelled examples.
      points: numbers of adaptations that are shown of a metric after steps. Default: all.
      threshold: return of a learning curve to which steps are counted, or of a ``success``.
      baseline: row whose steps are the unit of the other rows' steps.
      training_curves: whether records keep the returns while training, which are then drawn.
      name, directory: those of its file.
      shared: files of records of the tables that it extends.
    """

    name: str
    title: str
    source: str
    metric: Metric
    decimals: Decimals = 1
    better: Better = "higher"
    points: tuple[Annotated[int, AtLeast(0)], ...] = ()
    threshold: float | None = None
    baseline: str | None = None
    training_curves: bool = False
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    profiles: dict[str, Profile]
    directory: pathlib.Path
    shared: tuple[pathlib.Path, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = self.metric == "learning-curve"
        given = "none" if self.threshold is None else self.threshold
        metrics = {self.metric, *(one.metric for one in self.columns)}
        allowed = "a return for learning-curve and success, none for the other metrics"
        has_use = bool(metrics & {"learning-curve", "success"})
        check((self.threshold is not None) == has_use, "threshold", given, allowed)
        check(counts or self.baseline is None, "baseline", self.baseline, "only of learning-curve")
        allowed = "only of after-steps and error-after-steps"
        check(not self.points or self.metric in AFTER_STEPS, "points", self.points, allowed)

    @property
    def is_vector(self) -> bool:
        """Whether the numbers of one measurement are the columns."""
        return self.metric in VECTORS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThroughputTable:
    """A table of speeds: ``results`` are files of records by label; for the rest see ``Table``."""

    name: str
    title: str
    results: dict
    directory: pathlib.Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsTable:
    """A table of records as they are; for the rest see ``Table``.

    Attributes:
      records: name of their file of results.
      columns: fields of a record by heading. The first tells rows apart, of which the latest
        record counts.
      made_by: the command that measures them.
    """

    name: str
    title: str
    records: str
    columns: dict
    made_by: str
    directory: pathlib.Path


def places(given: str | None = None) -> tuple[pathlib.Path, ...]:
    """Where tables are looked for: one directory, or that of the present one, then metajax's."""
    return (DIRECTORY, shipped.tables()) if given is None else (pathlib.Path(given),)


def names(*directories: pathlib.Path) -> list[str]:
    """The tables that directories hold."""
    return sorted(_files(directories))


def titles() -> dict[str, str]:
    """Titles of the tables that are found by their name alone.

    Raises:
      OptionError: for a mistake in one of them.
    """
    return {name: load(name, *places()).title for name in names(*places())}


def load(
    name: str, *places: pathlib.Path, own: pathlib.Path | None = None
) -> Table | ThroughputTable | RecordsTable:
    """Reads and checks a table by the name of its file, without the ending.

    Args:
      name: the table's.
      places: directories of tables; the first that has it, or what it extends, counts.
      own: directory of a file of one's own, which is looked at before them.

    Raises:
      OptionError: naming the table, the row or column and the field.
    """
    directories = places if own is None else (own, *places)
    known = _files(directories)
    if not known:
        where = " and ".join(map(str, directories))
        raise OptionError(where, "holds no tables; without --tables those of metajax are there")
    if name not in known:
        allowed = f"{suggest(name, known)}allowed: {', '.join(sorted(known))}"
        where = f" in {directories[0]}" if len(directories) == 1 else ""
        raise OptionError("NAME", f'no table "{name}"{where}; {allowed}')
    path, directory = known[name], known[name].parent
    given = _parsed(path, places, directories)
    for field, cls in (("results", ThroughputTable), ("records", RecordsTable)):
        if field in given:
            return build(cls, given | {"name": name, "directory": directory}, name, toml=True)
    if "metric" in given and given["metric"] not in get_args(Metric):
        problem = f"{show(given['metric'])} does not fit; allowed: {words(Metric)}"
        raise OptionError(f"{name}.metric", problem)
    if given.get("metric") in VECTORS:
        given.setdefault("columns", [{"name": "all"}])
    given["columns"] = _each(Column, given.get("columns"), f"{name}.columns")
    given["rows"] = _each(Row, given.get("rows"), f"{name}.rows")
    given["profiles"] = _profiles(given, name)
    table = build(Table, {**given, "name": name, "directory": directory}, name, toml=True)
    _check(table)
    return table


def _parsed(
    path: pathlib.Path,
    places: Sequence[pathlib.Path],
    directories: Sequence[pathlib.Path],
    above: tuple[pathlib.Path, ...] = (),
) -> dict[str, Any]:
    """The contents of a file, laid over the table in ``directories`` that it extends.

    ``above`` are the files that extend this one.
    """
    try:
        given = files.parse_toml(files.read(path).decode())
    except ValueError as error:
        raise OptionError(str(path), f"is not valid TOML: {error}") from None
    for field in {"name", "directory", "shared"} & given.keys():
        raise OptionError(f"{path.stem}.{field}", "comes from the file; remove it")
    if "extends" not in given:
        return given
    above, base = (*above, path), given.pop("extends")
    known = _files(directories, without=above)
    if not isinstance(base, str) or base not in known:
        hint = f"{suggest(str(base), known)}allowed: {', '.join(sorted(known))}"
        raise OptionError(f"{path.stem}.extends", f"{show(base)} is no table; {hint}")
    lower = _parsed(known[base], places, directories, above)
    if {"results", "records"} & lower.keys():
        problem = f'"{base}" is a table of records; allowed: a table of methods'
        raise OptionError(f"{path.stem}.extends", problem)
    return _laid_over(_as_base(lower, known[base], places), given, path.stem)


def _as_base(
    lower: dict[str, Any], path: pathlib.Path, places: Sequence[pathlib.Path]
) -> dict[str, Any]:
    """The contents of a table's file, for a table elsewhere that extends it."""
    _check_parts(lower, path.stem)
    for row in lower.get("rows", ()):
        config = path.parent.parent.parent.absolute() / "configs" / str(row.get("config"))
        row |= {"config": str(config)} if config.is_file() else {}
    results = results_of(path.parent, places) / f"{path.stem}.jsonl"
    return {**lower, "shared": [*lower.get("shared", ()), results]}


def _laid_over(lower: dict[str, Any], given: dict[str, Any], name: str) -> dict[str, Any]:
    """A table with what another, called ``name``, adds to it."""
    allowed = ("title", "rows", "columns", "profiles")
    for field in given.keys() - {*allowed}:
        hint = f"{suggest(field, allowed)}allowed: {', '.join(allowed)}"
        raise OptionError(f"{name}.{field}", f"is that of the table it extends; {hint}")
    _check_parts(given, name)
    own = {part: given.get(part, []) for part in ("rows", "columns")}
    if own["columns"] and "columns" not in lower:
        problem = f'metric "{lower.get("metric")}" has none of its own; add rows'
        raise OptionError(f"{name}.columns", problem)
    merged = {**lower, **given, "profiles": {}}
    for row in lower.get("rows", ()):
        if row.get("published"):
            row["published"] = [*row["published"], *["none"] * len(own["columns"])]
    for part in own.keys() & lower.keys():
        merged[part] = [*lower[part], *own[part]]
    for profile in PROFILES:
        kept = {**lower.get("profiles", {}).get(profile, {})}
        for part in own.keys() & kept.keys():
            kept[part] = [*kept[part], *(one["name"] for one in own[part])]
        merged["profiles"][profile] = kept | given.get("profiles", {}).get(profile, {})
    return merged


def _check_parts(given: dict[str, Any], name: str) -> None:
    """Raises OptionError where a part of a table cannot be laid over another's."""
    for part, cls in (("rows", Row), ("columns", Column)):
        if part in given:
            _each(cls, given[part], f"{name}.{part}")
    _profiles(given, name)


def results_of(directory: pathlib.Path, places: Sequence[pathlib.Path]) -> pathlib.Path:
    """Where records of tables lie: beside a directory of tables, or a file of one's own."""
    is_place = directory.resolve() in [one.resolve() for one in places]
    return (directory.parent if is_place else directory) / "results"


def _files(
    directories: Iterable[pathlib.Path], without: Sequence[pathlib.Path] = ()
) -> dict[str, pathlib.Path]:
    """Files of tables by name, those of the first directories before others."""
    found = (path for one in reversed([*directories]) for path in one.glob("*.toml"))
    return {path.stem: path for path in found if path not in without}


def chosen(patterns: Iterable[str], *names: str) -> bool:
    """Whether one of the names fits one of the patterns."""
    return any(fnmatch.fnmatchcase(name, one) for one in patterns for name in names)


_T = TypeVar("_T")


def _profiles(given: Mapping[str, Any], name: str) -> dict[str, Profile]:
    """The profiles of a table, those that it leaves out as well."""
    profiles = given.get("profiles", {})
    if not isinstance(profiles, dict):
        raise OptionError(f"{name}.profiles", "is not a table; write [profiles.quick]")
    for profile in profiles:
        _known(f"{name}.profiles.{profile}", [profile], PROFILES)
    every = {profile: {} for profile in PROFILES} | profiles
    return _by_name(Profile, every, f"{name}.profiles")


def _each(cls: type[_T], given: Any, where: str) -> tuple[_T, ...]:
    """A list of TOML tables, each called by its name in messages."""
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise OptionError(where, f"a list of tables is needed; write [[{where.split('.')[-1]}]]")
    named: dict[str, Any] = {}
    for number, one in enumerate(given, start=1):
        name = str(one.get("name", number))
        if name in named:
            raise OptionError(f"{where}.{name}", "is there twice; names must differ")
        named[name] = one
    return tuple(_by_name(cls, named, where).values())


def _by_name(cls: type[_T], given: Mapping[str, Any], where: str) -> dict[str, _T]:
    for name, one in given.items():
        if not isinstance(one, dict):
            raise OptionError(f"{where}.{name}", f"{show(one)} is not a table")
    return {name: build(cls, one, f"{where}.{name}", toml=True) for name, one in given.items()}


def _check(table: Table) -> None:
    """Raises OptionError where one part of a table does not fit another."""
    columns, rows = [one.name for one in table.columns], [one.name for one in table.rows]
    if table.is_vector and len(columns) > 1:
        raise OptionError(f"{table.name}.columns", f'metric "{table.metric}" has none of its own')
    if table.is_vector and any(row.tune for row in table.rows):
        raise OptionError(f"{table.name}.metric", "a row is tuned, which needs one number a trial")
    _known(f"{table.name}.baseline", [table.baseline] if table.baseline else [], rows)
    for row in table.rows:
        where = f"{table.name}.rows.{row.name}"
        _known(f"{where}.columns", row.columns, columns)
        _known(f"{where}.overrides", row.overrides, columns)
        _by_name(Layer, row.overrides, f"{where}.overrides")
        if row.published and not table.is_vector and len(row.published) != len(columns):
            raise OptionError(
                f"{where}.published",
                f"{len(row.published)} given; allowed: {len(columns)}, one for each column, "
                '"none" where there is nothing',
            )
    cells = [*rows, *(f"{row}/{column}" for row in rows for column in columns)]
    for name, profile in table.profiles.items():
        allowed = {"columns": columns, "rows": cells, "num_tasks": cells, "num_iterations": cells}
        for option, names in allowed.items():
            given = getattr(profile, option)
            patterns = () if isinstance(given, int) else given
            _known(f"{table.name}.profiles.{name}.{kebab(option)}", patterns, names)


def _known(where: str, patterns: Iterable[str], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for name in patterns:
        if not chosen([name], *allowed):
            known = f"{suggest(name, allowed)}allowed: {', '.join(allowed)}"
            raise OptionError(where, f'"{name}" is unknown; {known}')
