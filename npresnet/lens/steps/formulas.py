r"""What each operation does, forward and backward, in the letters of the notation.

``docs/notation.md`` explains the letters, ``docs/derivations`` the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_GRAD = r"\frac{\partial \ell}{\partial %s}"
_X, _W, _B = _GRAD % "x", _GRAD % "w", _GRAD % "b"


@dataclass(frozen=True)
class Formula:
    r"""An operation in words, in LaTeX, and in one line of NumPy.

    Attributes
    ----------
    title : str
        What it is called.
    forward : str
        LaTeX: the output.
    backward : str
        LaTeX: the gradient that is handed on.
    parameters : dict of str to str
        LaTeX: the gradient of each parameter.
    code : str
        The backward pass as a person would type it.
    words : str
        What happens to the gradient.
    derivation : str
        Page of ``docs/derivations``.
    """

    title: str
    forward: str
    backward: str
    code: str
    words: str
    derivation: str
    parameters: dict[str, str] = field(default_factory=dict)


_AFFINE = {
    "weight": r"\frac{\partial \ell}{\partial \gamma} = \sum_{n,p,q} g \cdot \hat x",
    "bias": r"\frac{\partial \ell}{\partial \beta} = \sum_{n,p,q} g",
}
_CONV_FORWARD = r"y_{n,k,u,v} = \sum_{c,i,j} w_{k,c,i,j} \, \tilde x_{n,c,uS+iD,vS+jD}"
_FORMULAS = {
    "cross_entropy": Formula(
        "Cross entropy",
        r"\ell = -\frac{1}{N} \sum_{n} \ln \pi_{n,y_n} , \quad "
        r"\pi = \mathrm{softmax}(z)",
        r"\frac{\partial \ell}{\partial z} = \frac{\pi - t}{N}",
        "grad_logits = (softmax(logits) - target) / N",
        "Where every backward pass begins: what the network says, minus what it "
        "should say. The mean over the batch divides by N here, and nowhere else.",
        "cross_entropy",
    ),
    "linear": Formula(
        "Linear layer",
        r"y = x \, w^{\top} + b",
        rf"{_X} = g \, w",
        "grad_x = grad_output @ weight",
        "Every class hands its gradient to all features, by the weights that it saw "
        "them through.",
        "linear",
        {
            "weight": rf"{_W} = g^{{\top}} x",
            "bias": rf"{_B} = \sum_{{n}} g_{{n}}",
        },
    ),
    "flatten": Formula(
        "Change of shape",
        r"y_{n,c} = x_{n,c,0,0}",
        rf"{_X} = g \; \text{{in the shape of}} \; x",
        "grad_x = grad_output.reshape(x.shape)",
        "The same numbers in another shape: nothing is computed.",
        "linear",
    ),
    "adaptive_avg_pool2d": Formula(
        "Global average",
        r"y_{n,c} = \frac{1}{HW} \sum_{p,q} x_{n,c,p,q}",
        r"\frac{\partial \ell}{\partial x_{n,c,p,q}} = \frac{g_{n,c}}{HW}",
        "grad_x = grad_output / (H * W), the same for every pixel",
        "Every pixel of a channel gets the same: the last block is told that a "
        "channel should change, but not where.",
        "adaptive_avg_pool2d",
    ),
    "avg_pool2d": Formula(
        "Average pooling",
        r"y_{u,v} = \frac{1}{KH \cdot KW} \sum_{i,j} \tilde x_{uS+i,vS+j}",
        r"\frac{\partial \ell}{\partial x_{p,q}} = "
        r"\sum_{(u,v) \ni (p,q)} \frac{g_{u,v}}{KH \cdot KW}",
        "grad_x[window] += grad_output / (KH * KW), window by window",
        "Every window shares its gradient evenly among its pixels.",
        "avg_pool2d",
    ),
    "max_pool2d": Formula(
        "Max pooling",
        r"y_{u,v} = \max_{i,j} \, \tilde x_{uS+i,vS+j}",
        r"\frac{\partial \ell}{\partial x_{p,q}} = "
        r"\sum_{(u,v) : \, (p,q) \, \text{won}} g_{u,v}",
        "grad_x[winner] += grad_output, window by window",
        "Each window's winner gets all of its gradient, the other pixels nothing.",
        "max_pool2d",
    ),
    "relu": Formula(
        "ReLU",
        r"y = \max(x, 0)",
        rf"{_X} = g \cdot [x > 0]",
        "grad_x = grad_output * (out > 0)",
        "A gate: where the output was zero, the gradient stops for good.",
        "relu",
    ),
    "conv2d": Formula(
        "Convolution",
        _CONV_FORWARD,
        r"\frac{\partial \ell}{\partial \tilde x_{n,c,p,q}} = "
        r"\sum_{k} \; \sum_{uS+iD=p} \; \sum_{vS+jD=q} w_{k,c,i,j} \, g_{n,k,u,v}",
        "grad_x[window] += grad_output * weight, window by window",
        "Every output pixel spreads its gradient over the window that it looked "
        "through; every weight collects what it multiplied.",
        "conv2d",
        {
            "weight": r"\frac{\partial \ell}{\partial w_{k,c,i,j}} = "
            r"\sum_{n,u,v} g_{n,k,u,v} \, \tilde x_{n,c,uS+iD,vS+jD}",
            "bias": r"\frac{\partial \ell}{\partial b_{k}} = "
            r"\sum_{n,u,v} g_{n,k,u,v}",
        },
    ),
    "batch_norm": Formula(
        "Batch norm, on the batch's statistics",
        r"y = \gamma \, \hat x + \beta , \quad \hat x = \frac{x - \mu}{\sigma}",
        rf"{_X} = \frac{{\gamma}}{{\sigma}} \left( g - \langle g \rangle - "
        r"\hat x \, \langle g \, \hat x \rangle \right)",
        "grad_x = weight / std * (g - g.mean() - x_hat * (g * x_hat).mean())",
        "What would only shift or stretch the whole channel is taken out of the "
        "gradient, because batch norm would undo it.",
        "batch_norm",
        _AFFINE,
    ),
    "batch_norm_frozen": Formula(
        "Batch norm, frozen",
        r"y = \gamma \, \hat x + \beta , \quad \hat x = \frac{x - \mu}{\sigma}",
        rf"{_X} = \frac{{\gamma}}{{\sigma}} \, g",
        "grad_x = weight / std * grad_output",
        "In evaluation mode the statistics are constants: the gradient is scaled, "
        "channel by channel, and no more.",
        "batch_norm",
        _AFFINE,
    ),
    "zero_pad_shortcut": Formula(
        "Shortcut A: subsample, pad with zeros",
        r"y_{n,f+c,u,v} = x_{n,c,uS,vS} , \quad 0 \; \text{elsewhere}",
        r"\frac{\partial \ell}{\partial x_{n,c,uS,vS}} = g_{n,f+c,u,v} , \quad "
        r"0 \; \text{elsewhere}",
        "grad_x[:, :, ::S, ::S] = grad_output[:, f:f+C]",
        "Pixels that were taken get their gradient back, the others zero; what came "
        "to the channels of zeros is lost.",
        "zero_pad_shortcut",
    ),
    "identity": Formula(
        "Identity shortcut",
        r"y = x",
        rf"{_X} = g",
        "grad_x = grad_output",
        "The road around the branch: the gradient passes as it is, touched by no "
        "weight.",
        "residual_block",
    ),
    "addition": Formula(
        "Addition of branch and shortcut",
        r"s = F(x) + S(x)",
        r"\frac{\partial \ell}{\partial F} = \frac{\partial \ell}{\partial S} = g",
        "grad_branch = grad_shortcut = grad_sum",
        "Forward, two arrays were added; backward, the gradient goes both ways, all "
        "of it, not half.",
        "residual_block",
    ),
    "fork": Formula(
        "Fork: the two gradients add",
        r"x \mapsto F(x) , \, S(x)",
        rf"{_X} = g_{{F}} + g_{{S}}",
        "grad_input = grad_branch + grad_shortcut",
        "Forward, x went both ways; backward, what comes back from branch and "
        "shortcut adds up. This line is what a residual network is about.",
        "residual_block",
    ),
}
KNOWN = frozenset(_FORMULAS)  # operations of npresnet's own
_BINS = Formula(
    "Adaptive average pooling",
    r"y_{u,v} = \frac{1}{|B_{u}| \, |B_{v}|} "
    r"\sum_{p \in B_{u}} \sum_{q \in B_{v}} x_{p,q}",
    r"\frac{\partial \ell}{\partial x_{p,q}} = "
    r"\sum_{u : \, p \in B_{u}} \; \sum_{v : \, q \in B_{v}} "
    r"\frac{g_{u,v}}{|B_{u}| \, |B_{v}|}",
    "grad_x[bin] += grad_output / bin.size, bin by bin",
    "Every bin shares its gradient evenly among its pixels.",
    "adaptive_avg_pool2d",
)


def formula_of(name: str, *, frozen: bool = False, bins: bool = False) -> Formula:
    """Return the formula of an operation.

    Parameters
    ----------
    name : str
        As `Step.operation`; of one that is not npresnet's own, not much is known.
    frozen : bool
        Whether batch norm used the running statistics.
    bins : bool
        Whether an adaptive average is over more than one bin.
    """
    if name == "batch_norm" and frozen:
        return _FORMULAS["batch_norm_frozen"]
    if name == "adaptive_avg_pool2d" and bins:
        return _BINS
    return _FORMULAS.get(name) or Formula(
        name,
        r"y = f(x)",
        rf"{_X} = J^{{\top}} g , \quad J = \frac{{\partial y}}{{\partial x}}",
        "grad_x = module.backward(grad_output)",
        "A module of its own kind: its backward pass is in its class.",
        "README",
    )
