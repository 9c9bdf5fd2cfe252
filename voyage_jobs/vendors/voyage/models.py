"""What is known of Voyage's models and limits, as data with a date and a source for every column.

Nothing here refuses anything: a model that is not in the table is used all the same, with a warning and
without a price, because the vendor's list grows faster than ours. Sources, all public:

    [emb]    docs.voyageai.com/docs/embeddings                      context, dimensions, dtypes
    [ctx]    docs.voyageai.com/docs/contextualized-chunk-embeddings context, dimensions, caps per request
    [rr]     docs.voyageai.com/docs/reranker                        context, caps per request
    [multi]  docs.voyageai.com/docs/multimodal-embeddings           context
    [text]   mongodb.com/docs/voyageai, parameters of text models   the newest caps per request
    [batch]  docs.voyageai.com/docs/batch-inference                 models in batch, limits, the 33 % discount
    [price]  docs.voyageai.com/docs/pricing                         synchronous list price
    [old]    github.com/voyage-ai/openapi and older SDK comments    caps that the current pages no longer name
    [other]  getmaxim.ai/bifrost model library                      a third party's price list, unconfirmed
    [faq]    docs.voyageai.com/docs/faq                             embeddings have length 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voyage_jobs.usage import MOST_LINE_TOKENS

if TYPE_CHECKING:
    from voyage_jobs.profile import Profile

PRICES_AS_OF = "2026-09"

EMBEDDINGS = "/v1/embeddings"
CONTEXTUALIZED = "/v1/contextualizedembeddings"
RERANK = "/v1/rerank"
MULTIMODAL = "/v1/multimodalembeddings"
BATCH_ENDPOINTS = (EMBEDDINGS, CONTEXTUALIZED, RERANK)  # [batch]
DTYPES = ("float", "int8", "uint8", "binary", "ubinary")  # [emb]; all but float only on the flexible models

# Limits of the Batch API. [batch], the section on organization limits
MAX_IN_FLIGHT_BATCHES = 100
MAX_IN_FLIGHT_TOKENS = 1_000_000_000
MAX_BATCH_INPUTS = 100_000  # "inputs" may mean lines or texts: keep both below it
CREATE_RETRY_S = 30 * 60  # the guide's advice after a 429 on create: wait half an hour, no back-off
CANCEL_LATENCY_S = 10 * 60

# API reference of the batches endpoints: create, list
COMPLETION_WINDOW = "12h"
WINDOW_S = 12 * 3600
MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY_CHARS = 64
MAX_METADATA_VALUE_CHARS = 512
METADATA_REF = "voyage_jobs_ref"  # our mark: the key under which a job carries the ref of its batch
BATCHES_PER_PAGE = 100

# API reference of the files endpoints: list
FILES_PER_PAGE = 10_000
FILE_RETENTION_S = 30 * 86_400

# API reference of the embedding endpoints
MAX_TEXTS_PER_LINE = 1_000
MAX_CONTEXTUALIZED_CHUNKS_PER_LINE = 16_000

_BATCH_SHARE = 0.67  # [batch]: 33 % off. Whether the bill uses 0.67 or two thirds is not stated anywhere
_FLEXIBLE = (1024, 256, 512, 2048)  # [emb], [ctx]: default first

UNIT_LENGTHS = (0.9, 1.1)
"""Between these lies the length of every vector that was scaled to length 1, however coarsely it was rounded."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model. None means that no public page states it.

    `dimensions` has the default first and is empty for models that give no text vectors. `line_tokens`
    caps the sum of tokens of one request, hence of one line of a batch. `in_batch` is True if the batch
    guide names the model, False if it does not, and None if the model is newer than the guide. `unit_length`
    says that its float vectors have length 1 at every dimension. [faq]
    """

    name: str
    endpoint: str
    context_tokens: int | None
    dimensions: tuple[int, ...]
    quantized: bool
    line_tokens: int | None
    sync_usd_per_million: float | None
    in_batch: bool | None
    unit_length: bool = True

    @property
    def batch_usd_per_million(self) -> float | None:
        """List price less the batch discount; None where no page says that the model runs in batch."""
        if self.sync_usd_per_million is None or self.in_batch is False:
            return None
        return round(self.sync_usd_per_million * _BATCH_SHARE, 6)


_TABLE = (
    # name, endpoint, context, dimensions, quantized, line tokens, sync price, in batch
    Model("voyage-4-large", EMBEDDINGS, 32_000, _FLEXIBLE, True, 120_000, 0.12, True),  # [emb][text][price]
    Model("voyage-4", EMBEDDINGS, 32_000, _FLEXIBLE, True, 320_000, 0.06, True),  # [emb][text][price]
    Model("voyage-4-lite", EMBEDDINGS, 32_000, _FLEXIBLE, True, 1_000_000, 0.02, True),  # [emb][text][price]
    Model("voyage-code-4", EMBEDDINGS, 32_000, _FLEXIBLE, True, 320_000, 0.12, None),  # [text], price [other]
    Model("voyage-3-large", EMBEDDINGS, 32_000, _FLEXIBLE, True, 120_000, 0.18, True),  # [emb][text][price]
    Model("voyage-3.5", EMBEDDINGS, 32_000, _FLEXIBLE, True, 320_000, 0.06, True),  # [emb][text][price]
    Model(
        "voyage-3.5-lite", EMBEDDINGS, 32_000, _FLEXIBLE, True, 1_000_000, 0.02, True
    ),  # [emb][text][price]
    Model("voyage-code-3", EMBEDDINGS, 32_000, _FLEXIBLE, True, 120_000, 0.18, True),  # [emb][text][price]
    Model(
        "voyage-code-2", EMBEDDINGS, 16_000, (1536,), False, 120_000, 0.12, True
    ),  # [emb][price], cap [old]
    Model("voyage-finance-2", EMBEDDINGS, 32_000, (1024,), False, 120_000, 0.12, False),  # [emb][text][price]
    Model("voyage-law-2", EMBEDDINGS, 16_000, (1024,), False, 120_000, 0.12, False),  # [emb][text][price]
    Model("voyage-3", EMBEDDINGS, 32_000, (1024,), False, 320_000, 0.06, False),  # [emb][price], cap [old]
    Model(
        "voyage-3-lite", EMBEDDINGS, 32_000, (512,), False, 1_000_000, 0.02, False
    ),  # [emb][price], cap [old]
    Model("voyage-context-4", CONTEXTUALIZED, 32_000, _FLEXIBLE, True, 120_000, 0.12, None),  # [ctx][price]
    Model("voyage-context-3", CONTEXTUALIZED, 32_000, _FLEXIBLE, True, 120_000, 0.18, True),  # [ctx][price]
    Model("rerank-3", RERANK, None, (), False, None, None, None),  # named by mongodb.com/docs/voyageai only
    Model("rerank-3-lite", RERANK, 32_000, (), False, None, 0.02, None),  # context and price [other]
    Model("rerank-2.5", RERANK, 32_000, (), False, 600_000, 0.05, True),  # [rr][price]
    Model("rerank-2.5-lite", RERANK, 32_000, (), False, 600_000, 0.02, True),  # [rr][price]
    Model("rerank-2", RERANK, 16_000, (), False, 600_000, 0.05, False),  # [rr][price]
    Model("rerank-2-lite", RERANK, 8_000, (), False, 600_000, 0.02, False),  # [rr][price]
    Model(
        "voyage-multimodal-3.5", MULTIMODAL, 32_000, (), False, None, 0.12, False
    ),  # [multi][price], pixels extra
    Model(
        "voyage-multimodal-3", MULTIMODAL, 32_000, (), False, None, 0.12, False
    ),  # [multi][price], pixels extra
)
MODELS: dict[str, Model] = {model.name: model for model in _TABLE}


def find(name: str) -> Model | None:
    """The model of that name, or None if the table does not know it (which forbids nothing)."""
    return MODELS.get(name)


def most_tokens(name: str) -> int:
    """The most tokens that one request to a model can be billed with."""
    model = find(name)
    return (model and model.line_tokens) or MOST_LINE_TOKENS


def lengths(profile: Profile) -> tuple[float, float] | None:
    """The least and the greatest length of a sound vector; None where no length is promised.

    Whole numbers and bits have no such length, and of a model that the table does not know nothing is known.
    """
    model = find(profile.model)
    return UNIT_LENGTHS if profile.dtype == "float" and model is not None and model.unit_length else None


def price(tokens: int, usd_per_million: float | None) -> float | None:
    """USD for so many tokens; None if the price is not known. Free tokens do not apply to batches."""
    return None if usd_per_million is None else tokens * usd_per_million / 1_000_000


def doubts(name: str, *, endpoint: str, output_dimension: int | None, output_dtype: str) -> list[str]:
    """What the table does not vouch for in these settings, in sentences for a person; empty if nothing."""
    model = find(name)
    if model is None:
        return [
            f"{name} is not in the table of {PRICES_AS_OF}: its price, caps and dimensions are not known."
        ]
    found = []
    if model.endpoint != endpoint:
        found.append(f"{name} is documented for {model.endpoint}, not for {endpoint}.")
    if model.in_batch is None:
        found.append(f"{name} is newer than the batch guide, which does not say whether it runs in batches.")
    elif not model.in_batch:
        found.append(f"{name} is not among the models that the batch guide names.")
    if output_dimension is not None and model.dimensions and output_dimension not in model.dimensions:
        known = ", ".join(map(str, sorted(model.dimensions)))
        found.append(f"{name} is documented with {known} dimensions, not {output_dimension}.")
    if output_dtype != "float" and not model.quantized:
        found.append(f"{name} is documented with float vectors only, not {output_dtype}.")
    return found
