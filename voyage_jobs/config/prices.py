"""What tokens cost under these settings: the configured price of a model, else the dated list of `voyage/models.py`."""

from __future__ import annotations

from voyage_jobs.config.settings import Settings
from voyage_jobs.vendors.voyage.models import PRICES_AS_OF, find

CONFIGURED = "configuration"


def batch_price(settings: Settings) -> float | None:
    """USD per million tokens by batch, or None where it is not known."""
    model = settings.voyage.model
    given = settings.prices.get(model)
    if given is not None and given.batch_usd_per_million is not None:
        return given.batch_usd_per_million
    listed = find(model)
    return None if listed is None else listed.batch_usd_per_million


def sync_price(settings: Settings) -> float | None:
    """USD per million tokens by the synchronous endpoint, or None where it is not known."""
    model = settings.voyage.model
    given = settings.prices.get(model)
    if given is not None and given.sync_usd_per_million is not None:
        return given.sync_usd_per_million
    listed = find(model)
    return None if listed is None else listed.sync_usd_per_million


def prices_as_of(settings: Settings) -> str:
    """Where the batch price comes from: the month of the list, or the configuration."""
    given = settings.prices.get(settings.voyage.model)
    own = given is not None and given.batch_usd_per_million is not None
    return CONFIGURED if own else PRICES_AS_OF
