"""Numba kernels: arrays in, arrays out, integer cycles and picoseconds."""
