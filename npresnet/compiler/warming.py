"""``warmup``: everything compiled, or loaded, before it is needed."""

from __future__ import annotations

import copy

import numpy as np

from npresnet import _arguments
from npresnet.compiler.compiled import CompiledModel, CompiledStep
from npresnet.compiler.folding import InferenceModel
from npresnet.nn import Module


def warmup(
    model: Module | CompiledModel | CompiledStep, shape: tuple[int, ...]
) -> None:
    """Compile, or load, all that a pass over images of a shape needs.

    What is called first is then as fast as what is called later. Nothing about the
    model changes.

    Parameters
    ----------
    model : Module, or what `compile` has made
        A network, which then goes forward and back without a wait (`inference` models:
        forward only), or a compiled one, which is laid out for the shape as well.
    shape : tuple of int
        Of the images, ``(N, C, H, W)``. Kernels are compiled once for all sizes, but a
        small image may take others than a large one.

    Raises
    ------
    TypeError
        If the model is something else, or cannot be compiled.
    ValueError
        If the model takes no such images.

    Examples
    --------
    >>> import npresnet as nr
    >>> nr.warmup(nr.models.resnet8(), (8, 3, 32, 32))
    """
    shape = _arguments.wholes("shape", shape)
    if isinstance(model, CompiledModel | CompiledStep):
        model.prepare(shape)
        return
    _arguments.instance("model", model, Module, "a Module, or what compile() made")
    twin = copy.deepcopy(model)
    dtypes = [parameter.dtype for parameter in model.parameters()]
    x = np.zeros(shape, dtypes[0] if dtypes else np.float32)
    # Numbers that are all alike have no variance, which warns nobody here.
    x += np.arange(shape[-1], dtype=x.dtype)
    if isinstance(model, InferenceModel):
        for _ in range(2):  # a program is made for what comes again
            twin(x)
        return
    out = twin(x)
    twin.backward(np.ones_like(out))
