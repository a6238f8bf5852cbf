"""Writes the tables of README.md and docs/ from benchmarks/results/.

    python benchmarks/tables.py            # write
    python benchmarks/tables.py --check    # exit code 1 where a document differs
    python benchmarks/tables.py --latex point-navigation

A file in benchmarks/tables/ says what a table holds; ``metajax table NAME`` runs what is missing.
"""

import argparse
import pathlib
import sys

from metajax.core import files
from metajax.experiments import rendering
from metajax.run import tables


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--latex", metavar="NAME", help="print one table as LaTeX")
    parser.add_argument("--profile", choices=("quick", "full"), default="full", help="with --latex")
    root = pathlib.Path(__file__).resolve().parents[1]
    parser.add_argument("--root", type=pathlib.Path, default=root, help=argparse.SUPPRESS)
    options = parser.parse_args()
    differing = []
    try:
        if options.latex:
            print(tables.latex(rendering.render(options.latex, options.profile, options.root)))
        documents = [options.root / "README.md", *sorted(options.root.glob("docs/**/*.md"))]
        for path in [] if options.latex else documents:
            text = path.read_text(encoding="utf-8")
            filled = rendering.fill(text, options.root)
            if filled != text:
                differing.append(str(path.relative_to(options.root)))
                if not options.check:
                    files.replace(path, filled)
    except ValueError as error:
        sys.exit(str(error))
    names = ", ".join(differing)
    if names and options.check:
        sys.exit(f"{names}: tables differ from the results; run make tables")
    if names:
        print(f"wrote {names}")


if __name__ == "__main__":
    main()
