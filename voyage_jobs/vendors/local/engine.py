"""The model itself: texts become vectors of length 1, on the processor.

Every text is computed alone: its vector depends on nothing but the text, and there is no padding to pay for. A text
that is longer than the model's window is computed window by window, and all its tokens have a part in the mean: nothing
is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voyage_jobs.core.memory import give_back, keep_large_blocks_apart
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.local.files import ModelFiles

if TYPE_CHECKING:
    from tokenizers import Encoding


_RANK = 3  # texts, tokens, numbers
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class Engine:
    """A model that is loaded, with BERT's inputs. Raises ConfigError for what is no such model."""

    def __init__(self, files: ModelFiles) -> None:
        keep_large_blocks_apart()
        library = _library()
        self._errors = _errors(library)
        self._session = _session(library, files.onnx, self._errors)
        give_back()  # to make int8 weights ready takes twice what they take then
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._output = _states_of(self._session)
        if unknown := sorted(self._inputs - _INPUTS):
            given = ", ".join(sorted(_INPUTS))
            raise ConfigError(f"The model asks for {', '.join(unknown)}; what it can be given is {given}.")
        self._tokenizer, self._by_first = files.tokenizer, files.by_first
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(files.window_tokens)

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Vectors of shape (texts, width) in float32, and the tokens of all texts."""
        encoded = self._tokenizer.encode_batch(list(texts))
        vectors = np.stack([self._vector(each) for each in encoded])
        return vectors, sum(len(window) for each in encoded for window in _windows(each))

    def _vector(self, text: Encoding) -> np.ndarray:
        """The sum over the tokens (or the first tokens) of all windows, at length 1."""
        total = np.sum([self._part(window.ids) for window in _windows(text)], axis=0)
        found: np.ndarray = (total / np.linalg.norm(total)).astype(np.float32)
        return found

    def _part(self, ids: list[int]) -> np.ndarray:
        states = self._states(ids)
        part: np.ndarray = states[0] if self._by_first else states.sum(axis=0, dtype=np.float64)
        return part

    def _states(self, ids: list[int]) -> np.ndarray:
        tokens = np.array([ids], np.int64)
        given = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        wanted = {name: value for name, value in given.items() if name in self._inputs}
        try:
            states: np.ndarray = self._session.run([self._output], wanted)[0][0]
        except self._errors as exc:
            raise ConfigError(f"The model does not accept the output of its tokenizer: {exc}") from exc
        return states


def _states_of(session: Any) -> str:
    """The output that has a state for each token: the first, or one that is called so. A rank that the model does not
    tell is believed."""
    first, *rest = session.get_outputs()
    if len(first.shape or ()) in (0, _RANK):
        return str(first.name)
    for other in rest:
        if other.name == "last_hidden_state" and len(other.shape) == _RANK:
            return str(other.name)
    raise ConfigError(f"The model gives no state for each token: its output {first.name} has none.")


def _windows(text: Encoding) -> list[Encoding]:
    return [text, *text.overflowing]


def _library() -> Any:
    """onnxruntime, which would tell its makers of every session otherwise: nothing of us leaves the machine."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded
    import onnxruntime

    return onnxruntime


def _errors(library: Any) -> tuple[type[Exception], ...]:
    """What the library raises; there is no class above all of them."""
    found = library.capi.onnxruntime_pybind11_state
    return (
        found.Fail,
        found.InvalidArgument,
        found.InvalidGraph,
        found.InvalidProtobuf,
        found.NoSuchFile,
        found.NotImplemented,
        found.RuntimeException,
    )


def _session(library: Any, path: Path, errors: tuple[type[Exception], ...]) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = (
        False  # each text has its own length: what is planned for one does not fit the next
    )
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except errors as exc:
        raise ConfigError(f"{path} cannot be loaded as a model: {exc}") from exc
