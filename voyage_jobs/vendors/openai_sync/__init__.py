"""Servers that speak OpenAI's `/v1/embeddings` and nothing else that is asked of them."""
