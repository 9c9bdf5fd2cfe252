"""Evaluation: how well searches answer questions whose answers are known. Pure at the bottom; it only reads."""
