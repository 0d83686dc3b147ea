"""The price of an operator and of a step: the only place where either is computed."""
