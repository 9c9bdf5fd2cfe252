"""`doctor`: is everything around the work as it must be? One line per check: good or bad, why, and what to do.

Nothing is ever created or changed here. Each file holds the checks of one neighbourhood: `settings` (configuration and
key), `secrets` (who may read the files with keys), `data` (data folder, state, segments, table), `readers`,
`surroundings` (disk, sources, clock), `vendor` (one call, if asked).
"""
