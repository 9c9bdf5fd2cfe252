"""Real processes, real kills, torn files and full disks: the same promises as in `tests/sim`, without anything simulated
but the vendor. `python -m tests.crash` is the long form.
"""
