"""Deterministic simulation: whole lives of a worker under a virtual clock, with every fault, crash and change of mind.

`python -m tests.sim --seed N` repeats one life and tells its story; `--seeds A:B` runs many and counts what struck.
"""
