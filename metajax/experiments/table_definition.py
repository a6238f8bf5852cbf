"""What a table is made of: one TOML file, read strictly and without importing jax.

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

    [profiles.quick]
    evaluate = { num-tasks = 20000 }

    [profiles.full]
    seeds = [0, 1, 2]

``family``, ``algorithm``, ``train`` and ``evaluate`` are sections of a config; options in
``finetune`` are laid over the algorithm's after training, for the measurement alone. Options of
an ``algorithm`` that has no name yet count for all that are named later. A cell's config is laid
over from what is general to what is special: the row's config file, the table, the profile, the
column, the row, the row's ``overrides`` (by column), the profile's ``overrides`` (by row, then
by row/column). Where names of rows and columns are chosen, ``*`` stands for any characters:
``[rows.overrides."n=10,*"]``; of several overrides that fit, later ones lie over earlier ones.

A table with ``kind = "throughput"`` has a title and rows of label and results only.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from metajax.core.options import (
    AtLeast,
    AtMost,
    OptionError,
    build,
    check,
    check_number,
    suggest,
)

Metric = Literal["total", "regret", "normalized", "per-episode", "after-steps", "learning-curve"]
VECTORS = ("per-episode", "after-steps", "learning-curve")
PROFILES = ("quick", "full")
DIRECTORY = pathlib.Path("benchmarks", "tables")

Published = tuple[float | tuple[float, float] | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """Sections of a config that something in a table sets.

    Attributes:
      family, algorithm, evaluate: options of these sections.
      train: likewise; a row that has it is trained.
      finetune: options of the algorithm in which the trained theta is measured, where
        they are not those of training; another name starts them anew, and the name of the
        trained algorithm goes back to its options.
    """

    family: dict = dataclasses.field(default_factory=dict)
    algorithm: dict = dataclasses.field(default_factory=dict)
    train: dict | None = None
    evaluate: dict = dataclasses.field(default_factory=dict)
    finetune: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column(Layer):
    """One setting in which every method is measured.

    Attributes:
      name: of the column, also its heading.
      metric, decimals: where they differ from the table's.
    """

    name: str
    metric: Metric | None = None
    decimals: int | None = None

    def __post_init__(self) -> None:
        check_number("decimals", self.decimals, AtLeast(0), AtMost(9))
        check(self.metric not in VECTORS, "metric", self.metric, "one number a trial in a column")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(Layer):
    """One method, what a paper states of it, or both.

    Attributes:
      name: for the command line and records.
      label: for readers.
      block: heading above this row and those that follow it.
      config: a file of ``configs/`` that the row's settings start from; the method
        is then trained as the file says.
      untrained: measure the initial weights of a ``config`` or an ``algorithm``.
      reference: instead of a method, the expectation of the best policy that knows
        the task, or of the uniform random one, as the family computes it.
      tune: one option of an untrained algorithm and the values to choose from.
      seeds: instead of the profile's. Methods that are not trained have one.
      columns: in which the row is measured, names or patterns; all by default.
      published: for each column (of a metric with many: for each of its numbers) what
        a paper states: a number, ``[number, half width]`` or ``"none"``.
      source: which paper; by default the table's.
      overrides: sections by column, a name or a pattern.
    """

    name: str
    label: str
    block: str | None = None
    config: str | None = None
    untrained: bool = False
    reference: Literal["optimal-policy", "random-policy"] | None = None
    tune: dict = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None
    published: Published = ()
    source: str | None = None
    overrides: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check("/" not in self.name, "name", self.name, "a name without /")
        check_number("seeds", self.seeds, AtLeast(0))
        allowed = "only beside config, or an algorithm without train"
        has_weights = self.config or (self.algorithm and self.train is None)
        check(has_weights or not self.untrained, "untrained", True, allowed)
        given = [bool(self.algorithm), self.config is not None, self.reference is not None]
        check(
            self.reference is None or sum(given) == 1,
            "reference",
            self.reference,
            "only without algorithm and config",
        )
        check(
            any(given) or bool(self.published),
            "algorithm",
            "nothing",
            "algorithm, config or reference for a row that is measured, else published",
        )
        check(len(self.tune) <= 1, "tune", sorted(self.tune), "one option")
        for option, values in self.tune.items():
            fits = isinstance(values, list) and len(values) > 1
            check(fits, f"tune.{option}", values, "a list of at least two values")
        check(not (self.tune and self.is_trained), "tune", self.tune, "only without train, config")

    @property
    def is_measured(self) -> bool:
        """Whether there is something to run."""
        return bool(self.algorithm) or self.config is not None or self.reference is not None

    @property
    def is_trained(self) -> bool:
        """Whether it is trained before it is measured."""
        return self.train is not None or (self.config is not None and not self.untrained)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile(Layer):
    """How much of a table is run.

    Attributes:
      columns: names or patterns; all by default.
      rows: of rows or of row/column, likewise.
      seeds: of methods that are trained.
      trained: sections for those only, laid over the profile's own.
      overrides: sections by row or by row/column, likewise.
    """

    columns: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    trained: dict = dataclasses.field(default_factory=dict)
    overrides: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check(bool(self.seeds), "seeds", [], "at least one")
        check_number("seeds", self.seeds, AtLeast(0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Layer):
    """A table of methods.

    Attributes:
      name: of its file.
      title: one line.
      source: the paper and table that it follows.
      metric: ``total`` reward of a trial; ``regret`` against the best policy that
        knows the task; ``normalized``, the total as a part of that policy's;
        ``per-episode`` and ``after-steps``, a number for each episode of a trial or
        after 0..K adaptations, which then take the place of columns;
        ``learning-curve``, whose numbers are those of ``learning_curves.Summary``.
      decimals: that are shown.
      better: which numbers are.
      threshold: of a learning curve, the return that steps are counted to.
      baseline: name of the row with whose steps those of the others are compared.
      columns, rows: the table.
      profiles: ``quick`` and ``full``.
      directory: where its file lies.
    """

    name: str
    title: str
    source: str
    metric: Metric
    decimals: int = 1
    better: Literal["higher", "lower"] = "higher"
    threshold: float | None = None
    baseline: str | None = None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    profiles: dict[str, Profile]
    directory: pathlib.Path

    def __post_init__(self) -> None:
        check_number("decimals", self.decimals, AtLeast(0), AtMost(9))
        counts = self.metric == "learning-curve"
        given = "none" if self.threshold is None else self.threshold
        allowed = "a return for a learning-curve, none for the other metrics"
        check((self.threshold is not None) == counts, "threshold", given, allowed)
        check(counts or self.baseline is None, "baseline", self.baseline, "only of learning-curve")

    @property
    def is_vector(self) -> bool:
        """Whether the numbers of one measurement are the columns."""
        return self.metric in VECTORS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThroughputRow:
    """A line of a table of speeds: ``label``, and ``results``, its file."""

    label: str
    results: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThroughputTable:
    """A table of speeds, from the records of ``metajax bench``."""

    name: str
    title: str
    rows: tuple[ThroughputRow, ...]


def names(directory: pathlib.Path) -> list[str]:
    """The tables that a directory holds."""
    return sorted(path.stem for path in directory.glob("*.toml"))


def load(name: str, directory: pathlib.Path = DIRECTORY) -> Table | ThroughputTable:
    """Reads and checks a table.

    Args:
      name: of the file, without its ending.
      directory: where tables are.

    Raises:
      OptionError: naming the table, the row or column and the field.
    """
    path = directory / f"{name}.toml"
    if not directory.is_dir():
        raise OptionError(str(directory), "is not here; run in a checkout, or give --tables DIR")
    if not path.is_file():
        known = names(directory)
        allowed = f"{suggest(name, known)}allowed: {', '.join(known)}"
        raise OptionError("NAME", f'no table "{name}" in {directory}; {allowed}')
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(str(path), f"is not valid TOML: {error}") from None
    return read(name, mapping, directory)


def read(name: str, mapping: Mapping[str, Any], directory: pathlib.Path) -> Table | ThroughputTable:
    """The table of a mapping, as ``load`` reads it from a file."""
    mapping = dict(mapping)
    kind = mapping.pop("kind", "methods")
    if kind not in ("methods", "throughput"):
        raise OptionError(f"{name}.kind", f'{kind!r} given; allowed: "methods", "throughput"')
    for given in ("name", "directory"):
        if given in mapping:
            raise OptionError(f"{name}.{given}", "comes from the file; remove it")
    if kind == "throughput":
        mapping["rows"] = _each(ThroughputRow, mapping.get("rows", []), f"{name}.rows", "label")
        return build(ThroughputTable, {**mapping, "name": name}, name, toml=True)
    if "columns" not in mapping and mapping.get("metric") in VECTORS:
        mapping["columns"] = [{"name": "all"}]
    mapping["columns"] = _each(Column, mapping.get("columns"), f"{name}.columns")
    mapping["rows"] = _each(Row, mapping.get("rows"), f"{name}.rows")
    mapping["profiles"] = _profiles(mapping.get("profiles"), f"{name}.profiles")
    values = {**mapping, "name": name, "directory": directory}
    table = build(Table, values, name, toml=True)
    _check(table)
    return table


_T = TypeVar("_T")


def _each(cls: type[_T], given: Any, where: str, key: str = "name") -> tuple[_T, ...]:
    """A list of TOML tables, each called by its name in messages."""
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise OptionError(where, f"a list of tables is needed; write [[{where.split('.')[-1]}]]")
    built = []
    for number, one in enumerate(given, start=1):
        called = one.get(key) if isinstance(one.get(key), str) else number
        built.append(build(cls, one, f"{where}.{called}", toml=True))
    called = [getattr(one, key) for one in built]
    for one in called:
        if key == "name" and called.count(one) > 1:
            raise OptionError(f"{where}.{one}", "is there twice; names must differ")
    return tuple(built)


def _profiles(given: Any, where: str) -> dict[str, Profile]:
    if not isinstance(given, dict):
        raise OptionError(where, "is missing; write [profiles.quick] and [profiles.full]")
    for name, one in given.items():
        _known(f"{where}.{name}", name, PROFILES)
        if not isinstance(one, dict):
            raise OptionError(f"{where}.{name}", f"{one!r} is not a table")
    for name in PROFILES:
        if name not in given:
            raise OptionError(f"{where}.{name}", "is missing; an empty one runs the whole table")
    return {name: build(Profile, one, f"{where}.{name}", toml=True) for name, one in given.items()}


def _check(table: Table) -> None:
    """What one part of a table says of another."""
    columns, rows = [one.name for one in table.columns], [one.name for one in table.rows]
    if table.is_vector and len(columns) > 1:
        raise OptionError(f"{table.name}.columns", f'metric "{table.metric}" has none of its own')
    if table.is_vector and any(row.tune for row in table.rows):
        raise OptionError(f"{table.name}.metric", "a row is tuned, which needs one number a trial")
    if table.baseline is not None:
        _known(f"{table.name}.baseline", table.baseline, rows)
    for row in table.rows:
        where = f"{table.name}.rows.{row.name}"
        for column in row.columns or ():
            _known(f"{where}.columns", column, columns)
        _overrides(f"{where}.overrides", row.overrides, columns)
        if row.published and not table.is_vector and len(row.published) != len(columns):
            raise OptionError(
                f"{where}.published",
                f"{len(row.published)} given; allowed: {len(columns)}, one for each column, "
                '"none" where there is nothing',
            )
    cells = [*rows, *(f"{row}/{column}" for row in rows for column in columns)]
    for name, profile in table.profiles.items():
        where = f"{table.name}.profiles.{name}"
        for column in profile.columns or ():
            _known(f"{where}.columns", column, columns)
        for row in profile.rows or ():
            _known(f"{where}.rows", row, cells)
        _overrides(f"{where}.overrides", profile.overrides, cells)
        build(Layer, profile.trained, f"{where}.trained", toml=True)


def _overrides(where: str, overrides: Mapping[str, Any], allowed: Iterable[str]) -> None:
    for name, layer in overrides.items():
        _known(where, name, allowed)
        if not isinstance(layer, dict):
            raise OptionError(f"{where}.{name}", f"{layer!r} is not a table")
        build(Layer, layer, f"{where}.{name}", toml=True)


def chosen(patterns: Iterable[str], *names: str) -> bool:
    """Whether one of the names fits one of the patterns."""
    return any(fnmatch.fnmatchcase(name, one) for one in patterns for name in names)


def _known(where: str, name: str, allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    if not chosen([str(name)], *allowed):
        known = f"{suggest(str(name), allowed)}allowed: {', '.join(allowed)}"
        raise OptionError(where, f'"{name}" is unknown; {known}')
