"""What tokens cost under these settings: the configured price of a model, else the dated list of its provider."""

from __future__ import annotations

from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings

CONFIGURED = "configuration"


def batch_price(settings: Settings) -> float | None:
    """USD per million tokens by batch, or None where it is not known. Without jobs it is that of a synchronous call."""
    if vendor_of(settings).traits.sync_only:
        return sync_price(settings)
    model = settings.section.model
    given = settings.prices.get(model)
    if given is not None and given.batch_usd_per_million is not None:
        return given.batch_usd_per_million
    listed = vendor_of(settings).find(model)
    return None if listed is None else listed.batch_usd_per_million


def sync_price(settings: Settings, model: str | None = None) -> float | None:
    """USD per million tokens by the synchronous endpoint, or None where it is not known; of the configured model, or
    another."""
    model = model or settings.section.model
    given = settings.prices.get(model)
    if given is not None and given.sync_usd_per_million is not None:
        return given.sync_usd_per_million
    vendor = vendor_of(settings)
    listed = vendor.find(model)
    return vendor.traits.unlisted_usd_per_million if listed is None else listed.sync_usd_per_million


def price_of(tokens: int, usd_per_million: float | None) -> float | None:
    """USD for so many tokens; None if the price is not known. Free tokens do not apply to batches."""
    return None if usd_per_million is None else tokens * usd_per_million / 1_000_000


def prices_as_of(settings: Settings) -> str:
    """Where the batch price comes from: the month of the list, or the configuration."""
    given = settings.prices.get(settings.section.model)
    vendor = vendor_of(settings)
    which = "sync_usd_per_million" if vendor.traits.sync_only else "batch_usd_per_million"
    return CONFIGURED if getattr(given, which, None) is not None else vendor.prices_as_of
