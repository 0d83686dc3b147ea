"""Prices against measurements: tables of measured rows, errors by regime, fits of parameters."""
