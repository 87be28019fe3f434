"""The transforms of Winograd's algorithm; see `winograd`.

B^T patch B, G w G^T and A^T sum A of its paper, and their transposes for the way back,
each for all channels of a pixel at a time.
"""

from __future__ import annotations

import numpy as np

from npresnet.backend.kernels.compile import ZERO, kernel
from npresnet.backend.kernels.epilogue import apply_epilogue_inline, changes_anything
from npresnet.backend.kernels.rows import add_to, copy
from npresnet.backend.kernels.transform import two_sided_product

_B_TRANSPOSED = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_A_TRANSPOSED = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
_A = tuple(zip(*_A_TRANSPOSED, strict=True))

_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_G_TRANSPOSED = tuple(zip(*_G, strict=True))

_PATCH, _TILE = np.int64(6), np.int64(4)  # pixels along a side; see `ZERO`

# B^T x B, A^T x A and A x A^T, G x G^T and G^T x G, for many matrices at a time.
b_product = two_sided_product(_B_TRANSPOSED)
a_product = two_sided_product(_A_TRANSPOSED)
a_transposed_product = two_sided_product(_A)
g_product = two_sided_product(_G)
g_transposed_product = two_sided_product(_G_TRANSPOSED)


@kernel
def transform_weights(transformed, weight, lanes, turned, first, last):
    """Compute G w G^T, and pack it into panels.

    A panel of ``transformed[z]`` has two vectors of output channels (the last may have
    one): a row of these channels for every input channel. An iteration is `lanes` input
    channels of a panel.
    """
    K, C = weight.shape[:2]
    if turned:
        K, C = C, K
    flat, step = transformed.reshape(-1), transformed.shape[1]
    most = 2 * lanes * lanes  # weights of an iteration
    taps = np.empty(9 * most, weight.dtype)
    for iteration in range(first, last):
        panel, c = iteration // (C // lanes), iteration % (C // lanes) * lanes
        begin = 2 * panel * lanes
        width = min(2 * lanes, K - begin)
        for i in range(lanes):
            for m in range(width):
                kernel = (
                    weight[c + i, begin + m] if turned else weight[begin + m, c + i]
                )
                offset = i * width + m
                for tap in range(9):
                    value = kernel[tap // 3, tap % 3]
                    # The last tap first is the kernel turned by 180 degrees.
                    taps[(8 - tap if turned else tap) * most + offset] = value
        offset = begin * C + c * width
        n = lanes * width
        g_product(taps, 0, 3 * most, most, flat, offset, 6 * step, step, n)


@kernel
def transform_grad_weights(grad_weight, partial, channels, first, last):
    """Add up the splits, and compute G^T u G, for some input channels at a time."""
    splits, products, C, K = partial.shape
    rows = np.empty((products, K), partial.dtype)
    taps = np.empty((channels, 9, K), partial.dtype)
    flat, taps_flat = rows.reshape(-1), taps.reshape(-1)
    for iteration in range(first, last):
        begin, end = iteration * channels, min((iteration + 1) * channels, C)
        for c in range(begin, end):
            for z in range(products):
                copy(rows[z], partial[0, z, c])
                for split in range(1, splits):
                    add_to(rows[z], partial[split, z, c])
            offset = (c - begin) * 9 * K
            g_transposed_product(flat, 0, 6 * K, K, taps_flat, offset, 3 * K, K, K)
        # Filter after filter of the result, which has input channels side by side.
        for k in range(K):
            for c in range(begin, end):
                for tap in range(9):
                    value = taps[c - begin, tap, k]
                    grad_weight[k, c, tap // 3, tap % 3] = value


@kernel
def _position(tile, size):
    """Return a tile's image, and its first row and column."""
    down, across = (size[0] + 3) // 4, (size[1] + 3) // 4
    n, rest = divmod(tile, down * across)
    return n, rest // across * 4, rest % across * 4


@kernel
def transform_pixels(values, x, planned, origin, first, last):
    """Compute B^T patch B of the 6x6 pixels around tiles origin + first ... last-1.

    Row `first` of each of the 36 matrices belongs to the first of them.
    """
    _, H, W, C = x.shape
    patch = np.empty(36 * C, x.dtype)
    step, pitch = values[0].size, values.shape[2]
    flat, pixel = values.reshape(-1), x.reshape(-1)
    for t in range(first, last):
        n, top, left = _position(origin + t, planned.size)
        top, left = top - planned.padding[0], left - planned.padding[1]
        source, start, row = pixel, ((n * H + top) * W + left) * C, W * C
        if top < 0 or left < 0 or top + 6 > H or left + 6 > W:
            _cut_out(patch, x[n], top, left, _PATCH)
            source, start, row = patch, 0, 6 * C
        b_product(source, start, row, C, flat, t * pitch, 6 * step, step, C)


@kernel
def transform_grads(values, grad, planned, origin, first, last):
    """Compute A grad A^T of the 4x4 gradients of tiles origin + first ... last-1."""
    _, H, W, K = grad.shape
    patch = np.empty(16 * K, grad.dtype)
    step, pitch = values[0].size, values.shape[2]
    flat, pixel = values.reshape(-1), grad.reshape(-1)
    for t in range(first, last):
        n, top, left = _position(origin + t, planned.size)
        source, start, row = pixel, ((n * H + top) * W + left) * K, W * K
        if top + 4 > H or left + 4 > W:
            _cut_out(patch, grad[n], top, left, _TILE)
            source, start, row = patch, 0, 4 * K
        a_transposed_product(source, start, row, K, flat, t * pitch, 6 * step, step, K)


@kernel
def transform_sums(out, sums, planned, epilogue, origin, first, last):
    """Compute A^T sum A, and the epilogue, of tiles origin + first ... last-1."""
    _, H, W, K = out.shape
    patch = np.empty(16 * K, out.dtype)
    step, pitch = sums[0].size, sums.shape[2]
    flat, pixel = sums.reshape(-1), out.reshape(-1)
    has_epilogue = changes_anything(epilogue)
    for t in range(first, last):
        n, top, left = _position(origin + t, planned.size)
        start = ((n * H + top) * W + left) * K
        rows, size = min(4, H - top), min(4, W - left) * K
        if rows == 4 and size == 4 * K:
            offset = t * pitch
            a_product(flat, offset, 6 * step, step, pixel, start, W * K, K, K)
        else:
            a_product(flat, t * pitch, 6 * step, step, patch, 0, 4 * K, K, K)
            for i in range(rows):
                offset = start + i * W * K
                copy(pixel[offset : offset + size], patch[4 * i * K :])
        if has_epilogue:
            for i in range(rows):
                for offset in range(start + i * W * K, start + i * W * K + size, K):
                    apply_epilogue_inline(
                        pixel[offset : offset + K], offset, ZERO, epilogue
                    )


@kernel
def _cut_out(patch, image, top, left, side):
    """Copy side x side pixels; beyond the image is zero."""
    H, W, C = image.shape
    for i in range(side):
        for j in range(side):
            row = patch[(i * side + j) * C : (i * side + j + 1) * C]
            if 0 <= top + i < H and 0 <= left + j < W:
                source = image[top + i, left + j]
                for c in range(C):  # a call for every pixel costs more than this
                    row[c] = source[c]
            else:
                row[:] = 0
