"""Stands for Ray, which is large, where only our side of it is asked: what is remote is done at once, here."""

import os


class Remote:
    def __init__(self, function):
        self.remote = function


def init(*, address, log_to_driver, configure_logging):
    if os.environ.get("RAY_STAND_IN_IS_DOWN"):
        raise ConnectionError(address)


def remote(*, max_retries):
    return Remote


def get(found):
    return found
