"""Whole ways through the program with inputs that nobody would think of."""
