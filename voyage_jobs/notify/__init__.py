"""Notifications: what an operator should hear of, each once, by command, webhook and ping."""
