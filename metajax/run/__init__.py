"""Runs: training into a directory, with metrics, checkpoints, resuming and signals.

==============  ==========================================================
directory.py    what a run directory holds, its lock, ``metrics.jsonl``
checkpoints.py  the whole training state on disk
loop.py         training block by block, into the directory
loading.py      a run directory from Python: ``metajax.load_run``
meta_test.py    the meta-test of a checkpoint, its table, JSON and pictures
display.py      progress on the terminal
loggers.py      TensorBoard and Weights & Biases
signals.py      Ctrl-C and SIGTERM
console.py      what commands say of their progress and failures
numbers.py      numbers as files hold them
==============  ==========================================================
"""
