"""Writes the tables of README.md and docs/ from benchmarks/results/.

    python benchmarks/tables.py            # write
    python benchmarks/tables.py --check    # exit code 1 where a document differs
    python benchmarks/tables.py --latex point-navigation

What a table holds is said by its file in benchmarks/tables/; ``metajax table NAME``
runs what is missing of one.
"""

import argparse
import pathlib
import sys

from metajax.experiments import rendering

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--latex", metavar="NAME", help="print one table as LaTeX")
    parser.add_argument("--profile", choices=("quick", "full"), default="full", help="with --latex")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    benchmarks = options.root / "benchmarks"

    def table(name: str, profile: str) -> rendering.Grid:
        return rendering.render(name, benchmarks / "tables", benchmarks / "results", profile)

    try:
        if options.latex:
            print(rendering.latex(table(options.latex, options.profile)))
            return 0
        differing = []
        for path in [options.root / "README.md", *sorted(options.root.glob("docs/**/*.md"))]:
            text = path.read_text(encoding="utf-8")
            filled = rendering.fill(text, lambda *place: rendering.markdown(table(*place)))
            if filled != text:
                differing.append(path.relative_to(options.root))
                if not options.check:
                    path.write_text(filled, encoding="utf-8")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if not differing:
        return 0
    names = ", ".join(map(str, differing))
    if not options.check:
        print(f"wrote {names}")
        return 0
    print(f"{names}: tables differ from the results; run make tables", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
