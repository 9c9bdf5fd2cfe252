"""Metrics for Prometheus: what there is (`catalog`), what is counted here (`recorder`), what is read from the state.

prometheus-client is used here only, and loaded when somebody asks for metrics.
"""
