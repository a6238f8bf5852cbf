"""Cells of a table: the whole config of each, and the records that hold its number."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metajax.algorithms import ALGORITHMS
from metajax.core.options import OptionError, kebab, suggest
from metajax.experiments.table_definition import Column, Profile, Row, Table, chosen
from metajax.run import config as configs
from metajax.run.config import Config, EvaluateOptions
from metajax.tasks import FAMILIES


@dataclasses.dataclass(frozen=True)
class Cell:
    """One measurement of a table.

    Attributes:
      table, row, column: place of the cell.
      config: settings of training, with the seed in ``train.seed``. For a reference only the
        family and ``evaluate`` count, for a method that is not trained all but ``train``.
      measured: settings of the measurement; they differ where the table finetunes.
    """

    table: Table
    row: Row
    column: Column
    config: Config
    measured: Config

    @property
    def seed(self) -> int:
        """The seed of training, or of weights that stay as they were drawn."""
        return self.config.train.seed

    @property
    def name(self) -> str:
        """The name that ``--only`` takes."""
        return self.row.name if self.table.is_vector else f"{self.row.name}/{self.column.name}"

    @property
    def metric(self) -> str:
        """How returns become the cell's number."""
        return self.column.metric or self.table.metric

    @property
    def better(self) -> str:
        """Which numbers are, "higher" or "lower"."""
        return self.column.better or self.table.better

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that the cell's number depends on, as JSON writes it."""
        kept: dict[str, Any] = self.config.to_dict()
        algorithm, train = kept.pop("algorithm"), kept.pop("train")
        kept |= {"metric": self.metric, "seed": self.seed}
        if self.metric == "success":
            kept["threshold"] = self.table.threshold
        if self.row.reference:
            return _as_json(kept | {"reference": self.row.reference})
        kept["algorithm"] = algorithm
        if self.measured.algorithm != self.config.algorithm:
            kept["finetune"] = self.measured.to_dict()["algorithm"]
        if self.row.is_trained:
            kept["train"] = {"num-iterations": train["num-iterations"]}
        if self.row.tune:
            kept["tune"] = self.row.tune
        return _as_json(kept)

    @property
    def training_digest(self) -> str:
        """Digits that differ where training does."""
        parts = ("family", "algorithm", "train", "seed")
        return configs.digest({name: self.settings[name] for name in parts})

    def is_of(self, record: Mapping[str, Any]) -> bool:
        """Whether a record holds this cell's number.

        Options that did not exist when the record was written count as their defaults, so
        that a new option leaves old results valid.
        """
        settings = dict(record.get("settings") or {})
        registries = {"family": FAMILIES, "algorithm": ALGORITHMS, "finetune": ALGORITHMS}
        for section, registry in registries.items():
            given = settings.get(section, {})
            if given.get("name") in registry:
                settings[section] = {**_defaults(registry.get(given["name"])), **given}
        if "evaluate" in settings:
            settings["evaluate"] = {**_defaults(EvaluateOptions), **settings["evaluate"]}
        return settings == self.settings


def cells(table: Table, profile: str) -> list[Cell]:
    """Every cell of a profile that is measured, seed by seed.

    Raises:
      OptionError: for options that a family or an algorithm does not have.
    """
    scope, found = table.profiles[profile], []
    for row in table.rows:
        for column in table.columns if row.is_measured else ():
            in_columns = all(chosen(each.columns, column.name) for each in (scope, row))
            if in_columns and chosen(scope.rows, row.name, f"{row.name}/{column.name}"):
                for seed in row.seeds or (scope.seeds if row.is_trained else (0,)):
                    found.append(
                        Cell(table, row, column, *_configs(table, row, column, scope, seed))
                    )
    return found


def only(table: Table, profile: str, names: Sequence[str], seeds: Sequence[int] = ()) -> list[Cell]:
    """The cells of rows or ROW/COLUMN patterns, and of seeds; of all where none are given.

    Raises:
      OptionError: for a pattern that fits no cell, or a seed that no cell has.
    """
    found, known = cells(table, profile), _names(table, profile)
    for name in names:
        if not chosen([name], *known):
            rows = dict.fromkeys(one.row.name for one in found)
            allowed = ", ".join([*rows, *([] if table.is_vector else ["ROW/COLUMN"])])
            hint = f"{suggest(name, known)}allowed: {allowed}"
            for other in table.profiles:
                if chosen([name], *_names(table, other)):
                    hint = f"--profile {other} has it"
            raise OptionError("--only", f'"{name}" is not in profile {profile}; {hint}')
    found = [one for one in found if not names or chosen(names, one.row.name, one.name)]
    there = sorted({one.seed for one in found})
    for seed in seeds:
        if seed not in there:
            allowed = ", ".join(map(str, there))
            raise OptionError("--seeds", f"{seed} is no seed of these cells; allowed: {allowed}")
    return [one for one in found if not seeds or one.seed in seeds]


def narrowed(table: Table, profile: str, wanted: Sequence[Cell]) -> Table:
    """A table with nothing but some cells of a profile."""
    seeds: dict[str, list[int]] = {}
    for one in wanted:
        seeds.setdefault(one.row.name, []).append(one.seed)
    rows = [
        dataclasses.replace(row, seeds=tuple(dict.fromkeys(seeds[row.name])))
        for row in table.rows
        if row.name in seeds
    ]
    names = {"columns": (one.column.name for one in wanted), "rows": (one.name for one in wanted)}
    chosen_ones: dict[str, Any] = {part: tuple(dict.fromkeys(one)) for part, one in names.items()}
    scope = dataclasses.replace(table.profiles[profile], **chosen_ones)
    return dataclasses.replace(table, rows=tuple(rows), profiles={**table.profiles, profile: scope})


@contextlib.contextmanager
def naming(place: str, **renamed: str) -> Iterator[None]:
    """Puts a place before the field of an ``OptionError``; sections may be renamed."""
    try:
        yield
    except OptionError as error:
        section, *rest = error.field.split(".")
        field = ".".join([place, renamed.get(section, section), *rest])
        raise OptionError(field, error.problem) from None


def _names(table: Table, profile: str) -> list[str]:
    """All that ``--only`` may name."""
    both = ((one.row.name, one.name) for one in cells(table, profile))
    return list(dict.fromkeys(name for names in both for name in names))


def _configs(table: Table, row: Row, column: Column, scope: Profile, seed: int) -> list[Config]:
    """The config of training and that of the measurement."""
    where = f"{table.name}.rows.{row.name}"
    sections = _start(table, row, where)
    algorithm, train, finetune = sections["algorithm"], sections["train"], {}
    overrides = (one for name, one in row.overrides.items() if chosen([name], column.name))
    for layer in (vars(table), vars(column), vars(row), *overrides):
        for name, section in (*sections.items(), ("finetune", finetune)):
            _lay(section, layer.get(name) or {})
    names = row.name, f"{row.name}/{column.name}"
    tasks, iterations = (scope.size(one, *names) for one in ("num_tasks", "num_iterations"))
    sections["evaluate"] |= {} if tasks is None else {"num-tasks": tasks}
    if iterations is not None:
        if algorithm.get("decay-iterations", -1) == train.get("num-iterations"):
            algorithm["decay-iterations"] = iterations
        train["num-iterations"] = iterations
    train["seed"] = seed
    if row.reference:  # a config has an algorithm; here it counts for nothing
        algorithm.clear()
        algorithm["name"] = "maml"
    if finetune.get("name", algorithm.get("name")) == algorithm.get("name"):
        finetune = {**algorithm, **finetune}
    place = where if table.is_vector else f"{where}[{column.name}]"
    with naming(place):
        config = configs.from_dict(sections)
    with naming(place, algorithm="finetune"):
        measured = configs.from_dict({**sections, "algorithm": finetune})
    fixed = row.is_trained or row.untrained or row.reference or row.tune
    if not fixed and getattr(ALGORITHMS.get(config.algorithm.name), "learns", True):
        raise OptionError(
            f"{where}.train",
            f"is missing, and {config.algorithm.name} has to be trained; allowed: its options, "
            "for example { num-iterations = 200 }, or untrained = true to measure initial weights",
        )
    for option, values in row.tune.items():
        for value in values:
            with naming(place, algorithm="tune"):
                configs.from_dict({**sections, "algorithm": {**algorithm, kebab(option): value}})
    return [config, measured]


def _start(table: Table, row: Row, where: str) -> dict[str, dict[str, Any]]:
    """The sections that the layers are laid over: those of the row's config file, or empty."""
    if row.config is None:
        return {name: {} for name in configs.SECTIONS}
    roots = (table.directory.parent.parent, pathlib.Path())
    beside = (root / "configs" / row.config for root in roots)
    path = next((one for one in beside if one.exists()), row.config)
    try:
        sections = configs.load(path).to_dict()
    except OptionError as error:
        raise OptionError(f"{where}.config", str(error)) from None
    held_out = sections.pop("evaluate.family", None)
    sections["evaluate"] |= {"family": held_out} if held_out else {}
    return sections


def _lay(section: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Lays options over a section; another name starts it anew, a first one does not."""
    if "name" in section and layer.get("name", section["name"]) != section["name"]:
        section.clear()
    section.update({kebab(name): value for name, value in layer.items()})


@functools.cache
def _defaults(cls: Any) -> dict[str, Any]:
    return _as_json(
        {
            kebab(field.name): field.default
            for field in dataclasses.fields(cls)
            if not field.metadata.get("api") and field.default is not dataclasses.MISSING
        }
    )


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
