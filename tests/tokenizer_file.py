"""A small tokenizer of the kind that Voyage's models have: byte-level BPE, trained on a few words."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

WORDS = (
    "the quick brown fox jumps over the lazy dog. certificates are renewed every ninety days by a timer. "
    "About part word words document documents number renew a certificate with the command line tool. "
)


def make_tokenizer(path: Path, *, vocabulary: int = 400) -> Path:
    """Train a tokenizer and write its `tokenizer.json`; another size, another count."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([WORDS] * 5, trainer)
    tokenizer.enable_truncation(64)  # as published files may have it: counting must not be cut short
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path
