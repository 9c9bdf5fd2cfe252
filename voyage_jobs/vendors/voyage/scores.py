"""Reading a results file of a reranker: each line brings a score for each of its texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.rest.careful_reader import CarefulReader, flawed
from voyage_jobs.vendors.voyage.reranking import scores_in

_OF_THE_QUERY = 1.0  # each text of a line has a row, and the query is the first


class ScoreReader(CarefulReader):
    """Judges lines as any, and takes scores for what others have vectors for."""

    def vectors(self, body: dict[str, Any], count: int) -> np.ndarray:
        """A row for each text of the line, the query first."""
        try:
            scores = scores_in(body, count - 1)
        except BadAnswerError:
            flawed("bad_scores")
        return np.array([_OF_THE_QUERY, *scores], np.float32).reshape(-1, 1)
