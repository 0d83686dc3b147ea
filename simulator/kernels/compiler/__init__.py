"""A short way from a kernel's source to machine code: numba's, with what kernels need alone.

Kernels are made of integers, floats and contiguous arrays. These files leave out of numba's
pipeline what serves everything else, which is more than half of the time that the first run takes.
They lean on numba's internals, so they are used with the version that they were tested with; with
any other, ``kernels.jit`` takes numba as it is, and the results are the same.
"""
