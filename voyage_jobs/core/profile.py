"""What makes a vector: the profile, and the keys under which paid vectors are kept forever.

Two requests with equal key would be answered with the same vectors, so the second one is never sent. Everything that
changes a vector is in the profile; everything else (batching, files, tables) is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any

KEY_BYTES = 20  # 160 bits: no accidental collision, and a custom_id of 40 characters
KEY_DIGITS = 16  # of a document's key in hexadecimal: what a chunk's id begins with
EMBEDDINGS = "/v1/embeddings"
CONTEXTUALIZED = "/v1/contextualizedembeddings"
RERANK = "/v1/rerank"
"""Makes scores, no vectors: of a profile of it, what is kept under a key is a score of each text."""

DEFAULT_VENDOR = "voyage"
"""The provider of a profile that names none. This word never changes."""
ALWAYS = ("endpoint", "model", "dimension", "dtype", "input_type")
"""The fields that every fingerprint ever made has in it. This tuple never changes."""
_STORAGE = {"float": "float32", "int8": "int8", "binary": "int8", "uint8": "uint8", "ubinary": "uint8"}


@dataclass(frozen=True)
class Profile:
    """Endpoint (with leading slash), model, dimension and dtype, input type (None, "query", "document"), provider,
    and what stands before each text where the provider knows no input type.

    The words for endpoints and dtypes are ours, after those of the first provider; another one finds its own for
    them. Every key of a paid vector rests on `to_json`. A field that is added later needs a default that means what
    was done before it, and is written only where it has another value: then no key changes that is in a state or a
    segment today.
    """

    endpoint: str
    model: str
    dimension: int
    dtype: str
    input_type: str | None
    vendor: str = DEFAULT_VENDOR
    prefix: str = ""

    @property
    def fingerprint(self) -> str:
        """40 hex digits that differ whenever a vector could."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=KEY_BYTES).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON of the fields in `ALWAYS`, and of later ones that are not at their default."""
        unsaid = {each.name for each in fields(self) if getattr(self, each.name) == _left_out(each)}
        told = {name: value for name, value in asdict(self).items() if name not in unsaid}
        return json.dumps(told, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    @property
    def told(self) -> str:
        """In a few words, for people."""
        kind = f"{self.model}, {self.dimension} x {self.dtype}, input_type {self.input_type or 'none'}"
        return f"{kind}, contextualized" if self.contextualized else kind

    @property
    def contextualized(self) -> bool:
        """Whether one request carries several chunk texts that see each other."""
        return self.endpoint == CONTEXTUALIZED

    @property
    def storage_dtype(self) -> str:
        """How one element is stored: float32, int8 or uint8."""
        return _STORAGE[self.dtype]

    @property
    def width(self) -> int:
        """Stored elements per vector: the dimension, or an eighth of it for packed bits."""
        return self.dimension // 8 if self.dtype in ("binary", "ubinary") else self.dimension


def _left_out(field: Field[Any]) -> object:
    """The value of a field with which it is not written; of one in `ALWAYS`, none is."""
    return MISSING if field.name in ALWAYS else field.default


class KeyMaker:
    """Makes embedding keys for one profile; hashing the profile once makes this cheap per text."""

    def __init__(self, profile: Profile) -> None:
        self._base = hashlib.blake2b(bytes.fromhex(profile.fingerprint), digest_size=KEY_BYTES)

    def key(self, texts: Sequence[str]) -> bytes:
        """The 20-byte key of one request: the exact texts, in order, each framed by its length."""
        state = self._base.copy()
        for text in texts:
            data = text.encode("utf-8")
            state.update(len(data).to_bytes(8, "little"))
            state.update(data)
        return state.digest()


def embedding_key(key: bytes, slot: int, contextualized: bool) -> str:
    """The key of one vector as text: 40 hex digits, with `/slot` where a request holds several."""
    return f"{key.hex()}/{slot}" if contextualized else key.hex()


def document_key(source: str, path: str) -> bytes:
    """8 bytes that name a document across databases: its source's name and its path."""
    framed = f"{len(source)}:{source}{path}".encode()
    return hashlib.blake2b(framed, digest_size=KEY_DIGITS // 2).digest()


def chunk_id(doc_key: bytes, ordinal: int, text: str) -> str:
    """Stable while source, path, ordinal and text are."""
    text_hash = hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()
    return f"{doc_key.hex()}-{ordinal}-{text_hash}"
