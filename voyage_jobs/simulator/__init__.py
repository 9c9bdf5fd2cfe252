"""A stand-in for Voyage AI's API, or OpenAI's: one core, driven in process (`transport`) or over HTTP (`server`)."""

from voyage_jobs.simulator.core import Simulator
from voyage_jobs.simulator.endpoints import text_digest
from voyage_jobs.simulator.faults import FaultScript
from voyage_jobs.simulator.ledger import Ledger
from voyage_jobs.simulator.messages import Request, Response
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.tokens import count_tokens

__all__ = [
    "FaultScript",
    "Ledger",
    "Options",
    "Request",
    "Response",
    "Simulator",
    "count_tokens",
    "text_digest",
]
