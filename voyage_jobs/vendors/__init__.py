"""Providers of embeddings, one package each."""
