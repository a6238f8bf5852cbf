"""Environment steps a second of whole meta-iterations: ``metajax bench``; see ``--help``."""

import sys

from metajax import cli

if __name__ == "__main__":
    sys.exit(cli.main(["bench", *sys.argv[1:]]))
