"""What all tests share."""

from __future__ import annotations

from hypothesis.internal.conjecture import providers

# Hypothesis draws some values from constants of the modules that happen to be loaded, so that the
# examples of a test would depend on which tests ran before it. Without them each is deterministic.
_NONE = providers._local_constants
providers._get_local_constants = lambda: _NONE
