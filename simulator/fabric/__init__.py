"""Collectives and flows on a fabric: algorithms, their prices, links and what shares them."""
