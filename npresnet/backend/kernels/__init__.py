"""The hot operations, compiled: names, signatures and results of `reference`.

Each file holds operations (plain Python, which prepares arrays) and below them the
compiled loops. What they have in common:

- `channels_last`: how images lie in memory, and why;
- `micro_kernels`, `matmul_micro_kernel`, `vectors`: the innermost loops of everything
  heavy;
- `layout`: which pixels a convolution reads; `epilogue`: what it does to its results;
- `memory`: arrays in memory that is used again; `packing`: weights packed once;
- `compile`, `ahead`: how code is compiled and kept, and who compiles it.

`npresnet.backend.threads` tells how threads share a kernel.

Glossary
--------
kernel : a compiled loop over a range of iterations, ``kernel(..., first, last)``.
    (Of a convolution, also the small window of weights.)
iteration : what a kernel's outer loop does in one step; no two write to the same
    element.
chunk : the range of consecutive iterations that one thread takes.
block : what an iteration works on, as large as suits the caches: images, rows of an
    image, tiles, or elements of a flat array.
split : one of a fixed number of equal parts of a sum, each summed apart and then added
    in order (split-K), or of the panels of a block.
segment : consecutive elements that an inner loop goes through.
tap : one element of a convolution's window, (i, j).
output : one pixel of the output, where the window is at one position.
padded copy : what a block sees, copied with the zeros of the border.
micro-kernel : the innermost loop, in vector instructions; it keeps a register tile of
    sums, some rows of one or two vectors.
panel : packed weights of two vectors of output channels, or one: as wide as a tile.
packing : copying weights (or gradients) into panels, in the order of reading.
epilogue : what is done to results while they are in registers: bias, residual, ReLU.
patch, tile : in Winograd's algorithm 6x6 pixels, and the 4x4 outputs made of them.
arena : a large allocation that buffers are cut from.
"""

from npresnet.backend.kernels.conv2d import (
    conv2d,
    conv2d_grad_input,
    conv2d_grad_input_add,
    fused_conv2d,
)
from npresnet.backend.kernels.conv2d_grad_weight import conv2d_grad_weight
from npresnet.backend.kernels.elementwise import add, relu, relu_grad, relu_grad_below
from npresnet.backend.kernels.linear import (
    linear,
    linear_grad_input,
    linear_grad_weight,
)
from npresnet.backend.kernels.norm import (
    batch_norm_grad_input,
    batch_norm_grad_sums,
    batch_norm_normalize,
    batch_norm_statistics,
)
from npresnet.backend.kernels.norm_relu import (
    batch_norm_relu,
    batch_norm_relu_grad_sums,
    rectified_batch_norm_grad_input,
    rectified_batch_norm_grad_sums,
)
from npresnet.backend.kernels.optim import sgd_update
from npresnet.backend.kernels.pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
)
from npresnet.backend.kernels.shortcut import zero_pad_shortcut, zero_pad_shortcut_grad
