import pytest

from voyage_jobs.config.prices import price_of
from voyage_jobs.core.profile import Profile
from voyage_jobs.vendors.voyage import models


def asking(model, dimension, dtype, endpoint=models.EMBEDDINGS):
    return Profile(endpoint, model, dimension, dtype, "document")


def test_an_unknown_model_is_a_doubt_and_not_an_error():
    assert models.find("voyage-99") is None

    [doubt] = models.doubts(asking("voyage-99", 7, "int8"))

    assert "voyage-99 is not in the table of 2026-09" in doubt


def test_an_unknown_price_stays_unknown():
    assert price_of(1_000, None) is None
    assert models.MODELS["rerank-3"].batch_usd_per_million is None


def test_a_model_that_no_page_puts_in_batches_has_no_batch_price():
    law = models.MODELS["voyage-law-2"]

    assert law.sync_usd_per_million == 0.12
    assert law.batch_usd_per_million is None


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("voyage-4-large", 0.0804),
        ("voyage-4", 0.0402),
        ("voyage-4-lite", 0.0134),
        ("voyage-code-4", 0.0804),
        ("voyage-3-large", 0.1206),
        ("voyage-context-4", 0.0804),
        ("voyage-context-3", 0.1206),
        ("rerank-2.5", 0.0335),
    ],
)
def test_the_batch_price_is_a_third_off_the_list_price(name, usd):
    assert models.MODELS[name].batch_usd_per_million == pytest.approx(usd, abs=1e-9)


def test_a_billion_tokens_cost_a_thousand_times_the_price_per_million():
    assert price_of(1_000_000_000, 0.0402) == pytest.approx(40.2)
    assert price_of(0, 0.0402) == 0


def test_a_well_known_combination_raises_no_doubt():
    assert not models.doubts(asking("voyage-4", 256, "ubinary"))


@pytest.mark.parametrize(
    ("name", "endpoint", "dimension", "dtype", "says"),
    [
        ("voyage-4", models.CONTEXTUALIZED, 1024, "float", "documented for /v1/embeddings"),
        ("voyage-4", models.EMBEDDINGS, 1000, "float", "256, 512, 1024, 2048 dimensions, not 1000"),
        ("voyage-code-2", models.EMBEDDINGS, 1536, "int8", "float vectors only, not int8"),
        ("voyage-law-2", models.EMBEDDINGS, 1024, "float", "not among the models"),
        ("voyage-code-4", models.EMBEDDINGS, 1024, "float", "newer than the batch guide"),
    ],
)
def test_what_no_page_vouches_for_is_told(name, endpoint, dimension, dtype, says):
    [doubt] = models.doubts(asking(name, dimension, dtype, endpoint))

    assert says in doubt


def test_every_row_is_consistent():
    for name, model in models.MODELS.items():
        assert name == model.name
        assert model.endpoint.startswith("/v1/")
        assert model.endpoint != models.MULTIMODAL or model.in_batch is False
        assert not model.quantized or model.dimensions == (1024, 256, 512, 2048)
        assert model.line_tokens is None or model.line_tokens >= (model.context_tokens or 0)
