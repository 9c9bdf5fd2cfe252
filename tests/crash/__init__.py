"""Real processes, real kills, torn files and full disks: the promises of `tests/sim` with nothing simulated but the
provider. `python -m tests.crash` is the long form.
"""
