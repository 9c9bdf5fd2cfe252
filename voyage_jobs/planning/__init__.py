"""What a run would send and cost: the real steps, at work on a throw-away copy of the state.

So a plan cannot say anything else than a run does: there is no second scan and no second way to cut batches.
"""
