"""OpenAI's batches, and services that speak as it does: Azure OpenAI, proxies."""
