"""Slow, obvious systolic arrays: registers in cells, one clock tick at a time.

Nothing here knows a formula. Operands enter at the edges, move one cell per cycle together with a
tag that says which vector they belong to, and results are taken where they leave. The cycles are
counted, not computed. Compiled with numba only because the tests run many thousands of cases.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def weight_stationary(a, b, rows, cols, double):
    """(product, cycles, useful multiplications per cycle) of a[M,K] b[K,N] on rows x cols cells.

    With ``double``, a second register per cell takes the weights of the next fold while the current
    ones are at work; a cell changes over when the first vector of a fold reaches it.
    """
    m, k = a.shape
    n = b.shape[1]
    product = np.zeros((m, n), np.int64)
    row_folds = (k + rows - 1) // rows
    folds = row_folds * ((n + cols - 1) // cols)
    busy = np.zeros(folds * (m + 4 * (rows + cols)), np.int64)  # room enough
    weight = np.zeros((rows, cols), np.int64)
    useful = np.zeros((rows, cols), np.bool_)
    shadow = np.zeros((rows, cols), np.int64)
    shadow_useful = np.zeros((rows, cols), np.bool_)
    x = np.zeros((rows, cols), np.int64)
    tag = np.full((rows, cols), -1, np.int64)  # fold * m + vector, travelling with x
    total = np.zeros((rows, cols), np.int64)
    skew = np.full(rows, -1, np.int64)  # the vectors that entered 0, 1, ... cycles ago
    load_began = np.full(folds + 1, 1 << 60, np.int64)
    load_began[0] = 0
    loading, loaded = 0, 0  # the last fold whose load began; folds whose weights are in place
    streaming, vector = -1, m  # the fold whose vectors enter, and the next of them
    out = 0
    t = 0
    while out < folds * m * cols:
        # control: may the next stream, or the next load, begin in this cycle?
        if loaded == loading and loading < folds and t >= load_began[loading] + rows:
            loaded += 1
        if vector == m and loaded > streaming + 1:
            streaming, vector = streaming + 1, 0
            if double:
                loading = streaming + 1
                load_began[loading] = t
        if not double and loaded == loading + 1 and out == loaded * m * cols:
            loading += 1
            load_began[loading] = t
        # a vector enters at the top left; row i sees its element i cycles later
        for i in range(rows - 1, 0, -1):
            skew[i] = skew[i - 1]
        skew[0] = -1
        if vector < m:
            skew[0] = streaming * m + vector
            vector += 1
        work = 0
        # from the last cell to the first, so that left and upper neighbours still hold the old
        for i in range(rows - 1, -1, -1):
            for j in range(cols - 1, -1, -1):
                if j == 0:
                    tag[i, j] = skew[i]
                    kk = ((skew[i] // m) % row_folds) * rows + i
                    x[i, j] = a[skew[i] % m, kk] if skew[i] >= 0 and kk < k else 0
                else:
                    tag[i, j], x[i, j] = tag[i, j - 1], x[i, j - 1]
                if tag[i, j] >= 0 and tag[i, j] % m == 0:
                    weight[i, j], useful[i, j] = shadow[i, j], shadow_useful[i, j]
                # weights move down one cell per cycle, the lowest row's first; with a stream at
                # work they follow its wavefront, so that no cell loses a weight that it needs
                for fold in range(max(0, loading - cols - 1), min(loading, folds - 1) + 1):
                    late = j if double else 0
                    step = t - load_began[fold] - late
                    if (i if double else 0) <= step < rows:
                        if i == 0:
                            kk = (fold % row_folds) * rows + rows - 1 - step
                            nn = (fold // row_folds) * cols + j
                            inside = kk < k and nn < n
                            shadow[i, j] = b[kk, nn] if inside else 0
                            shadow_useful[i, j] = inside
                        else:
                            shadow[i, j] = shadow[i - 1, j]
                            shadow_useful[i, j] = shadow_useful[i - 1, j]
                # the partial sum comes from above
                total[i, j] = (total[i - 1, j] if i > 0 else 0) + weight[i, j] * x[i, j]
                if tag[i, j] >= 0:
                    work += useful[i, j]
                    if i == rows - 1:
                        nn = ((tag[i, j] // m) // row_folds) * cols + j
                        if nn < n:
                            product[tag[i, j] % m, nn] += total[i, j]
                        out += 1
        busy[t] = work
        t += 1
    return product, t, busy[:t]


@njit(cache=True)
def output_stationary(a, b, rows, cols):
    """(product, cycles, useful multiplications per cycle); results shift out behind the next."""
    m, k = a.shape
    n = b.shape[1]
    product = np.zeros((m, n), np.int64)
    row_folds = (m + rows - 1) // rows
    folds = row_folds * ((n + cols - 1) // cols)
    busy = np.zeros(folds * (k + 4 * (rows + cols)), np.int64)  # room enough
    t = 0
    leaving = np.zeros((rows, cols), np.int64)
    leaving_fold, left = -1, rows
    for fold in range(folds):
        m0, n0 = (fold % row_folds) * rows, (fold // row_folds) * cols
        x = np.zeros((rows, cols), np.int64)
        x_tag = np.full((rows, cols), -1, np.int64)
        y = np.zeros((rows, cols), np.int64)
        y_tag = np.full((rows, cols), -1, np.int64)
        total = np.zeros((rows, cols), np.int64)
        done = np.zeros((rows, cols), np.int64)
        began = t
        while done[rows - 1, cols - 1] < k:  # the last corner to be reached
            work = 0
            for i in range(rows - 1, -1, -1):
                for j in range(cols - 1, -1, -1):
                    if j == 0:
                        kk = t - began - i
                        there = 0 <= kk < k
                        x_tag[i, j] = kk if there else -1
                        x[i, j] = a[m0 + i, kk] if there and m0 + i < m else 0
                    else:
                        x_tag[i, j], x[i, j] = x_tag[i, j - 1], x[i, j - 1]
                    if i == 0:
                        kk = t - began - j
                        there = 0 <= kk < k
                        y_tag[i, j] = kk if there else -1
                        y[i, j] = b[kk, n0 + j] if there and n0 + j < n else 0
                    else:
                        y_tag[i, j], y[i, j] = y_tag[i - 1, j], y[i - 1, j]
                    if x_tag[i, j] >= 0 and x_tag[i, j] == y_tag[i, j]:
                        total[i, j] += x[i, j] * y[i, j]
                        done[i, j] += 1
                        work += m0 + i < m and n0 + j < n
            if left < rows:
                _shift_out(leaving, leaving_fold, left, product, row_folds)
                left += 1
            busy[t] = work
            t += 1
        assert left == rows  # the results of the fold before have left by now
        leaving, leaving_fold, left = total, fold, 0
    while left < rows:
        _shift_out(leaving, leaving_fold, left, product, row_folds)
        left += 1
    return product, t, busy[:t]


@njit(cache=True)
def _shift_out(leaving, fold, step, product, row_folds):
    """The bottom row leaves, the others move down by one."""
    rows, cols = leaving.shape
    m, n = product.shape
    m0, n0 = (fold % row_folds) * rows, (fold // row_folds) * cols
    i = rows - 1 - step
    for j in range(cols):
        if m0 + i < m and n0 + j < n:
            product[m0 + i, n0 + j] = leaving[rows - 1, j]
        for r in range(rows - 1, 0, -1):
            leaving[r, j] = leaving[r - 1, j]


def run(dataflow, load, a, b, rows, cols):
    """(product, cycles, busy) for any dataflow; input stationary is the transposed product."""
    if dataflow == "os":
        return output_stationary(a, b, rows, cols)
    if dataflow == "ws":
        return weight_stationary(a, b, rows, cols, load == "double")
    product, cycles, busy = weight_stationary(
        np.ascontiguousarray(b.T), np.ascontiguousarray(a.T), rows, cols, load == "double"
    )
    return np.ascontiguousarray(product.T), cycles, busy
