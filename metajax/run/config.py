"""Configs: strict TOML files into frozen dataclasses, and back.

A config has four sections::

    [family]                     # name, and the family's own options
    name = "point-navigation"

    [algorithm]                  # name, and the algorithm's own options
    name = "maml"
    num-tasks = 40

    [train]                      # see ``TrainOptions``
    num-iterations = 500

    [evaluate]                   # see ``EvaluateOptions``
    num-tasks = 100

    [evaluate.family]            # the held-out family: options that differ

Overrides on the command line are written ``section.option=value``. Everything
is checked here, without importing jax, before anything is written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from metajax.core import files
from metajax.core.kinds import show
from metajax.core.options import AtLeast, AtMost, Count, OptionError, Options, build, kebab, suggest
from metajax.core.registry import Registry
from metajax.run import shipped

if TYPE_CHECKING:
    from metajax.core.algorithm import MetaAlgorithm
    from metajax.core.family import Family

SECTIONS = ("family", "algorithm", "train", "evaluate")

LAYOUT = ("microbatch", "gradient-microbatch", "devices", "buffer-budget")
"""Options of algorithms on which nothing but rounding depends: how tasks lie on the machine."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Length and seed of training, and what is kept of it.

    Attributes:
      num_iterations: Number of meta-iterations in all.
      seed: Seed of the initialisation and of every task and episode.
      block_size: Number of meta-iterations between two looks at the run: progress, metrics,
        signals and checkpoints. It never changes the result.
      checkpoint_every: Number of meta-iterations between two checkpoints, at block ends.
      keep_checkpoints: Number of checkpoints on disk, the latest ones.
      tensorboard: Whether to also write TensorBoard files into the run directory.
      wandb: Whether to also log to Weights & Biases.
      wandb_project: Name of the project at Weights & Biases.
    """

    num_iterations: Annotated[int, AtLeast(1), AtMost(2**31 - 2)] = 500
    seed: Annotated[int, AtLeast(0)] = 0
    block_size: Count = 10
    checkpoint_every: Count = 50
    keep_checkpoints: Count = 3
    tensorboard: bool = False
    wandb: bool = False
    wandb_project: str = "metajax"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """Meta-test of the trained theta on held-out tasks.

    The section ``[evaluate.family]`` holds the options in which their family differs from
    that of training.

    Attributes:
      num_tasks: Number of held-out tasks.
      num_adaptations: Number of adaptations K in each task. Default: as in training.
      num_streams: Number of streams E (episodes, where trials are fresh) in each chunk.
        Default: as in training.
      seed: Seed of the held-out tasks and their episodes.
      explore: Whether to measure sampled actions, not the policy's mode.
    """

    num_tasks: Annotated[int, AtLeast(1), AtMost(10**7)] = 100
    num_adaptations: Annotated[int, AtLeast(0), AtMost(10**5)] | None = None
    num_streams: Annotated[int, AtLeast(1), AtMost(10**6)] | None = None
    seed: Annotated[int, AtLeast(0)] = 0
    explore: bool = True


@dataclasses.dataclass(frozen=True)
class Named:
    """A registered name and its options; ``options.build`` makes the thing itself."""

    name: str
    options: Any


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run.

    Attributes:
      family: what it trains on.
      algorithm: what it trains.
      train: how long, and what to keep.
      evaluate: how it is measured.
      held_out: the family it is measured on.
    """

    family: Named
    algorithm: Named
    train: TrainOptions
    evaluate: EvaluateOptions
    held_out: Named

    def build(self) -> tuple[MetaAlgorithm, Family]:
        """The algorithm on its family, and the held-out family; imports jax.

        Raises OptionError for settings that do not fit each other.
        """
        from metajax.algorithms import built

        family = _build_section("family", self.family.options.build)
        held_out = family
        if self.held_out != self.family:
            held_out = _build_section("evaluate.family", self.held_out.options.build)
        algorithm = _build_section("algorithm", lambda: built(self.algorithm.options, family))
        return algorithm, held_out

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """All sections with every default written out, names as in TOML."""
        family, held_out = _named_dict(self.family), _named_dict(self.held_out)
        different = {key: value for key, value in held_out.items() if value != family[key]}
        sections = {
            "family": family,
            "algorithm": _named_dict(self.algorithm),
            "train": _option_dict(self.train),
            "evaluate": _option_dict(self.evaluate),
        }
        return {**sections, "evaluate.family": different} if different else sections

    def to_toml(self) -> str:
        """The config as a TOML file that ``parse`` reads back to an equal one."""
        return "\n".join(
            f"[{section}]\n"
            + "".join(f"{key} = {toml_value(value)}\n" for key, value in table.items())
            for section, table in self.to_dict().items()
        )

    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ where any setting differs."""
        return digest(self.to_dict())


def digest(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that differ where any setting differs."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(path: str | pathlib.Path, overrides: Iterable[str] = ()) -> Config:
    """Reads and checks a config file.

    Args:
      path: the TOML file, or where there is none the name of a config that metajax ships.
      overrides: ``"section.option=value"`` each, applied in order.

    Raises:
      OptionError: where the file cannot be read or a setting cannot be used.
    """
    path = locate(path)
    try:
        text = files.read(path).decode()
    except UnicodeDecodeError:
        raise OptionError(str(path), "is not a text file; a config is TOML in UTF-8") from None
    except OSError as error:
        beside = sorted(one.name for one in path.parent.glob("*.toml"))
        shipped_name = path.name.removesuffix(".toml")
        hint = suggest(path.name, beside) or suggest(shipped_name, shipped.configs())
        here = f"there is {', '.join(beside)}; " if beside and not hint else ""
        allowed = "allowed: a TOML file, or a name that metajax list configs shows"
        problem = f"cannot be read ({error.strerror}); {hint}{here}{allowed}"
        raise OptionError(str(path), problem) from None
    return parse(text, overrides, source=str(path))


def locate(given: str | pathlib.Path) -> pathlib.Path:
    """The file of a config: the path of one, or else the name of one that metajax ships."""
    is_file = os.path.exists(given) and not os.path.isdir(given)
    named = None if is_file else shipped.config(given)
    return named or pathlib.Path(given)


def parse(text: str, overrides: Iterable[str] = (), source: str = "config") -> Config:
    """Checks the text of a config; ``source`` is its name in messages (see ``load``)."""
    try:
        tables = files.parse_toml(text)
    except ValueError as error:
        raise OptionError(source, f"is not valid TOML: {error}") from None
    return from_dict(tables, overrides)


def from_dict(tables: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """Checks the sections of a config, as TOML or ``Config.to_dict`` has them (see ``load``)."""
    sections = _sections(tables)
    for override in overrides:
        _override(sections, override)
    return _resolve(sections)


def _resolve(sections: dict[str, dict[str, Any]]) -> Config:
    from metajax.algorithms import ALGORITHMS
    from metajax.tasks import FAMILIES

    evaluate = dict(sections["evaluate"])
    differing = evaluate.pop("family", {})
    if "name" in differing:
        raise OptionError("evaluate.family.name", "cannot differ from family.name; remove it")
    family = _named("family", sections["family"], FAMILIES)
    merged = {**sections["family"], **differing}
    return Config(
        family=family,
        algorithm=_named("algorithm", sections["algorithm"], ALGORITHMS),
        train=build(TrainOptions, sections["train"], "train", toml=True),
        evaluate=build(EvaluateOptions, evaluate, "evaluate", toml=True),
        held_out=_named("evaluate.family", merged, FAMILIES) if differing else family,
    )


def _named(section: str, table: Mapping[str, Any], registry: Registry) -> Named:
    table = dict(table)
    names = ", ".join(registry.names())
    name = table.pop("name", None)
    if name is None:
        raise OptionError(f"{section}.name", f"is missing; allowed: {names}")
    if not isinstance(name, str):
        raise OptionError(f"{section}.name", f"{show(name)} is not a string; allowed: {names}")
    try:
        cls = registry.get(name)
    except OptionError as error:
        raise OptionError(f"{section}.name", error.problem) from None
    return Named(name, build(cls, table, section, toml=True))


def _build_section(section: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except OptionError as error:
        field = kebab(error.field)
        field = field if field.startswith(f"{section}.") else f"{section}.{field}"
        raise OptionError(field, error.problem) from None


def _sections(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The known sections with kebab names; empty where the file leaves one out."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for name, table in tables.items():
        if name != "evaluate.family":
            _known_section(name)
            sections[name] = _table(name, table)
    family = sections["evaluate"].get("family", tables.get("evaluate.family"))
    if family is not None:
        sections["evaluate"]["family"] = _table("evaluate.family", family)
    return sections


def _known_section(name: str) -> None:
    if name not in SECTIONS:
        allowed = ", ".join(SECTIONS)
        raise OptionError(name, f"unknown section; {suggest(name, SECTIONS)}allowed: {allowed}")


def _table(where: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise OptionError(
            where, f"{show(table)} is not a section; write [{where}] and options below"
        )
    spelled: dict[str, Any] = {}
    for key, value in table.items():
        if kebab(key) in spelled:
            raise OptionError(f"{where}.{kebab(key)}", "is set twice, with - and with _; keep one")
        spelled[kebab(key)] = value
    return spelled


def _override(sections: dict[str, dict[str, Any]], override: str) -> None:
    path, equals, text = override.partition("=")
    *section, option = [part.strip() for part in path.split(".")]
    if not equals or not section or not option:
        example = "write section.option=value, for example algorithm.num-tasks=64"
        raise OptionError("--set", f'"{override}" is not an override; {example}')
    _known_section(section[0])
    table = sections[section[0]]
    if section == ["evaluate", "family"]:
        table = table.setdefault("family", {})
    elif len(section) > 1 or (section[0], option) == ("evaluate", "family"):
        raise OptionError(path.strip(), "unknown option; sections hold options only")
    table[kebab(option)] = _value(text.strip())


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        table = files.parse_toml(f"value = {text}")
    except ValueError:
        return text
    return table["value"] if len(table) == 1 else text


def _named_dict(named: Named) -> dict[str, Any]:
    return {"name": named.name, **_option_dict(named.options)}


def _option_dict(options: Any) -> dict[str, Any]:
    return {
        kebab(field.name): getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.init and not field.metadata.get("api")
    }


def toml_value(value: Any) -> str:
    """A scalar or a list in TOML; ``None`` is written ``"none"``, which ``build`` reads."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
