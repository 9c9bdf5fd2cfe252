"""Retrievers for frameworks. Each module needs the framework that it is named after; nothing else loads it."""
