"""Environment steps a second of whole meta-iterations; see ``--help``.

    python benchmarks/throughput.py --algorithm maml --num-tasks 40 --streams 20 --horizon 100

The command ``metajax bench`` is the same.
"""

import sys

from metajax.experiments import throughput

if __name__ == "__main__":
    sys.exit(throughput.main())
