"""Telling the world what has happened: facts that a person should hear of, each once, by command, webhook and ping."""
