"""What is computed: models and the operators that they are made of."""

from simulator.model.transformer import Transformer, llama

__all__ = ["Transformer", "llama"]
