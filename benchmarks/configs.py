"""Records what a shipped config reaches, for the table shipped-configs.

    metajax train NAME
    python benchmarks/configs.py runs/NAME-seed-0

adds a record to benchmarks/results/shipped-configs.jsonl.
"""

import argparse
import math
import pathlib

from metajax.core.quantities import count, duration
from metajax.run import meta_test, records
from metajax.run.config import load
from metajax.run.directory import RunDirectory
from metajax.run.references import ORACLE, references

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "shipped-configs.jsonl"


def record(run: RunDirectory) -> dict:
    """What the run of a config reached.

    Raises:
      SystemExit: for a run of settings that no shipped config has.
    """
    config = run.read_config()
    settings = {name: value for name, value in config.to_dict().items() if name != "train"}
    paths = (ROOT / "configs").glob("*.toml")
    names = [path.stem for path in sorted(paths) if load(path).digest() == config.digest()]
    if not names:
        raise SystemExit(f"{run.path} is of no config in {ROOT / 'configs'}")
    found = meta_test.recorded(run, config)
    last = run.read_metrics()[-1]
    algorithm, held_out = config.build()
    known = references(config, algorithm, held_out, meta_test.evaluation_key(config))
    return {
        "config": names[0],
        "family": config.held_out.name,
        "score": found.evaluation.score,
        "first": _shown(found.evaluation, 0),
        "last": _shown(found.evaluation, -1),
        "random": _shown(found.baseline, -1),
        "oracle": f"{known[ORACLE]:.4g}" if ORACLE in known else "",
        "iterations": last["iteration"],
        "env_steps": count(last["env_steps"]),
        "time": duration(last["seconds"]),
        "settings": settings,
        "environment": found.environment,
    }


def _shown(evaluation: meta_test.Evaluation, at: int) -> str:
    low, high = evaluation.interval()[:, at]
    half = (high - low) / 2
    digits = max(0, 1 - math.floor(math.log10(half))) if 0 < half < math.inf else 2
    return f"{evaluation.mean()[at]:.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=RunDirectory)
    for run in parser.parse_args().runs:
        one = record(run)
        records.append(RESULTS, one)
        print(f"{one['config']}: {one['first']} to {one['last']} in {one['time']}")


if __name__ == "__main__":
    main()
