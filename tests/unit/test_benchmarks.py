"""Benchmarks are programs that nobody runs for weeks: those that compare ways check here that the ways still agree."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("walk", ["--files", "60", "--folders", "3", "--runs", "1"]),
        ("jsonl", ["--lines", "50", "--chars", "100", "--runs", "1"]),
    ],
)
def test_the_ways_that_a_benchmark_compares_agree(name, options, monkeypatch, capsys):
    benchmark = import_module(f"benchmarks.bench_{name}")
    monkeypatch.setattr(sys, "argv", [name, *options])
    benchmark.main()
    assert "| path | ours | naive | floor | ratio |" in capsys.readouterr().out
