"""The hot operations, compiled: names, signatures and results of `reference`.

Each file holds operations (plain Python, which prepares arrays) and below them the
compiled loops. What they have in common:

- `channels_last`: how images lie in memory, and why;
- `tile`, `matrix_tile`, `vectors`: the innermost loops of everything heavy;
- `layout`: which pixels a convolution reads; `finish`: what it does to its results;
- `memory`: room for large arrays, used again; `prepared`: weights put in order once;
- `compile`, `ahead`: how code is compiled and kept, and who compiles it;
- `team`: how threads share a kernel.
"""

from npresnet.backend.kernels.conv2d import (
    conv2d,
    conv2d_grad_input,
    fused_conv2d,
)
from npresnet.backend.kernels.conv2d_grad_weight import conv2d_grad_weight
from npresnet.backend.kernels.elementwise import add, relu, relu_grad
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
