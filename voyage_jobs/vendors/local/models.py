"""What is known of the model that the extra brings."""

from __future__ import annotations

from voyage_jobs.core.profile import EMBEDDINGS
from voyage_jobs.vendors.base import Model

SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
"""Of `model.onnx`: another file would make other vectors under the same keys."""
WINDOW_TOKENS = 256
"""What the model was trained to read at once."""
MODEL = Model("all-MiniLM-L6-v2-int8", EMBEDDINGS, None, (384,), False, None, 0.0, True)
