"""`verify`: do folders, state, segments, table and provider agree? Every disagreement has a class, and most a way back.

    catalog   what can be wrong: every class of damage, what it means, how it is mended
    state     state.db against itself          folders  the sources against the state
    segments     the vectors against the state    rows     the table against the state and the vectors
    remote    the provider against the state
    verify    all of them, in one report       repair   the rollback, by the steps that do the daily work

Auditing only reads. It streams: what is kept of a million documents is four numbers each.
"""
