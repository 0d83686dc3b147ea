"""How a request ended."""

from __future__ import annotations

COMPLETED = 0
REJECTED_KV = 1
"""It can never fit the KV cache."""
REJECTED_CONTEXT = 2
"""It is longer than the model's context."""
LOST = 3
"""What had it failed, and nobody answered it."""
