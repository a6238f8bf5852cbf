"""Trains a config with several seeds and appends one record a seed to a result file.

    python benchmarks/learning.py configs/maml-point-navigation.toml --seeds 0 1 2 3 4

Seeds whose record is there for the same settings are skipped, so an interrupted
benchmark goes on where it stopped.
"""

import argparse
import pathlib
import sys

from metajax import cli, config
from metajax.options import OptionError

RESULTS = pathlib.Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", metavar="CONFIG", help="TOML file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", metavar="SECTION.OPTION=VALUE", action="append", default=[])
    parser.add_argument("--label", help="of the records; by default the name of the config")
    parser.add_argument("--output", help="result file; by default benchmarks/results/LABEL.jsonl")
    options = parser.parse_args()
    label = options.label or pathlib.Path(options.config).stem
    output = options.output or str(RESULTS / f"{label}.jsonl")
    try:
        settings = config.load(options.config, options.set)
    except OptionError as error:
        parser.error(str(error))
    cli.prepare_jax(cache=True)
    from metajax.report import learning, records

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        learning.run_seeds(settings, label, options.seeds, output, progress)
    except (OptionError, records.Unreadable) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
