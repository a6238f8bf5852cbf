"""Makes an entry of the zoo (metajax/zoo/) from a finished run.

    metajax train rl2-gridnavi --set algorithm.hidden-size=96 --run-dir runs/zoo
    python benchmarks/zoo.py runs/zoo rl2-gridnavi

The config of each entry is in its record: ``metajax.zoo.record(NAME)["config"]``.
"""

import argparse
import pathlib
import sys

from metajax import zoo
from metajax.core.options import OptionError
from metajax.run.checkpoints import CheckpointError


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("run", metavar="RUN", help="directory of the run")
    parser.add_argument("name", metavar="NAME", help="name of the entry")
    there = pathlib.Path(zoo.__file__).parent
    text = "where to write its two files; default: metajax/zoo"
    parser.add_argument("--directory", type=pathlib.Path, default=there, help=text)
    options = parser.parse_args()
    try:
        path = zoo.write(options.name, options.run, options.directory)
    except (OptionError, CheckpointError, OSError) as error:
        sys.exit(f"{error}")
    size = path.with_suffix(".npz").stat().st_size
    print(f"wrote {path}, and {size / 1000:.0f} KB of theta beside it")


if __name__ == "__main__":
    main()
