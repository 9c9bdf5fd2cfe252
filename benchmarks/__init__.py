"""Measurements. Run one with `python -m benchmarks.bench_walk`, from the top of the checkout."""
