"""Why something is not moving: one list of reasons, out of one snapshot of the state.

`snapshot.py` reads the state; `causes.py` has every reason there is, one entry each; `blockers(snapshot)` is the list.
Steps ask it whether they may. `status`, `why`, `sync`, notifications and metrics filter and format it.
"""
