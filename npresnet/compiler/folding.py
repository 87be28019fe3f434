"""A network's twin for inference: batch norm folded in, forward only.

In evaluation mode batch norm multiplies every channel with one number and adds
another. Both can be had for nothing: the first in the weights of the convolution
before it, the second as that convolution's bias. What is left of a block is two
convolutions (or three) that add and rectify while they are at it.

What is not known here (classes of your own, methods that were replaced) keeps its own
forward pass; what is known inside of it is folded all the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments, backend
from npresnet.compiler.as_written import is_as_written
from npresnet.compiler.folded_layers import FusedConv2d, LayeredConv2d
from npresnet.compiler.programs import Programs
from npresnet.compiler.symbols import CannotCompile
from npresnet.models import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    ResNet,
)
from npresnet.nn import (
    BatchNorm2d,
    Conv2d,
    Gradient,
    Linear,
    LoadResult,
    Module,
    ReLU,
    Sequential,
    no_grad,
)

Array = NDArray[np.floating[Any]]

_MOST_SHAPES = 64  # that are remembered


def inference(model: Module) -> InferenceModel:
    """Make a forward-only twin of a network, with batch norm folded in.

    Parameters
    ----------
    model : Module
        Left as it is. Its running statistics are used, whatever its mode.

    Returns
    -------
    InferenceModel
        Called like the model, gives the same logits to rounding. It is a snapshot:
        what happens to the model later does not reach it. Its weights can be
        replaced (``twin.conv1.weight = ...``, `load_state_dict`) but not changed in
        place: NumPy raises ValueError.

    Raises
    ------
    TypeError
        If it is no Module.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> model = nr.models.resnet8().eval()
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    >>> bool(np.allclose(nr.inference(model)(x), model(x), atol=1e-5))
    True
    """
    _arguments.instance("model", model, Module, "a Module")
    return InferenceModel(model)


class InferenceModel(Module):
    """What `inference` makes: a network's modules under their own names, folded."""

    _network: Module
    _programs: Programs
    _met: set[tuple[int, ...]]

    def __init__(self, model: Module) -> None:
        super().__init__()
        network = _folded(copy.deepcopy(model).eval(), {})
        # The same dicts: what the network has is found here under the same name.
        self._parameters, self._modules = network._parameters, network._modules
        self._buffers = network._buffers
        vars(self)["_network"] = network  # not a module of its own: no path leads there
        vars(self)["_programs"] = Programs(network, input_grad=None)
        # Shapes of inputs that have come once: a program is made for those that come
        # again.
        vars(self)["_met"] = set()
        self._fix_weights()
        self.eval()

    def __getattr__(self, name: str) -> Any:
        network = vars(self).get("_network")
        if network is None:  # while a copy is being made
            raise AttributeError(name)
        return getattr(network, name)

    def __setattr__(self, name: str, value: Any) -> None:
        network = vars(self).get("_network")
        if network is not None and name in vars(network) and name not in vars(self):
            setattr(network, name, value)
        else:
            super().__setattr__(name, value)

    def _fix_weights(self) -> None:
        """Make all weights constants, which kernels put in order once."""
        for module in self.modules():
            if isinstance(module, FusedConv2d):
                module.weight = backend.constant(module.weight)
            elif isinstance(module, Conv2d | Linear):  # where nothing could be folded
                module.weight.data = backend.constant(module.weight.data)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, or what was pickled: arrays do not stay constants by it."""
        self.__dict__.update(state)
        self._fix_weights()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> LoadResult:
        """See `Module.load_state_dict`."""
        result = super().load_state_dict(state_dict, strict)
        self._fix_weights()
        return result

    def forward(self, x: Array) -> Array:
        """Map images to what the model maps them to: (N, C, H, W) to logits, mostly."""
        with no_grad():
            out = self._run_program(x) if self._has_come_before(x) else None
            if out is None:
                out = self._network(x)
        return out

    def _has_come_before(self, x: Array) -> bool:
        """Tell whether an input of this shape was there before; remember it."""
        if type(x) is not np.ndarray:
            return False
        if x.shape in self._met:
            return True
        if len(self._met) >= _MOST_SHAPES:
            self._met.clear()
        self._met.add(x.shape)
        return False

    def _run_program(self, x: Array) -> Array | None:
        """Return what the program gives; None where the network itself is to run."""
        try:
            with self._programs.use(x) as program:
                if program is None or not program.run_forward(x):
                    return None
                out: Array = program.out.copy(order="K")
                return out
        except CannotCompile:
            return None

    def backward(self, *gradients: Any, **options: Any) -> Gradient:
        """Refuse: the readable model goes backward, its twin does not."""
        raise RuntimeError(
            "a model made by inference() has no backward pass; use the model that it "
            "was made from"
        )


# ----------------------------------------------------------------- folding


def _folded(module: Module, done: dict[Module, Module]) -> Module:
    """Return what a module becomes; `done` remembers those that are met again."""
    if module not in done:
        done[module] = _fold_module(module, done)
    return done[module]


def _fold_module(module: Any, done: dict[Module, Module]) -> Module:
    if _is(module, Sequential):
        return _fold_row(module, done)
    if any(_is(module, kind) for kind in (BasicBlock, Bottleneck, PlainBlock)):
        pairs = module.layers()
        if _is(module.relu, ReLU) and all(_is_pair(*pair) for pair in pairs):
            return FusedBlock(module, done)
    elif _is(module, ResNet):
        if _is_pair(module.conv1, module.bn1) and _is(module.relu, ReLU):
            return FusedResNet(module, done)
    for name, child in list(module.named_children()):
        folded = _folded(child, done)
        if folded is not child:
            setattr(module, name, folded)
    return module  # type: ignore[no-any-return]


def _is(module: Any, kind: type[Module]) -> bool:
    """Tell whether a module is of just this kind, with all its passes as written."""
    return type(module) is kind and is_as_written(module)


def _is_pair(conv: Any, bn: Any) -> bool:
    return _is(conv, Conv2d) and _is(bn, BatchNorm2d)


def _fold_row(row: Sequential, done: dict[Module, Module]) -> Module:
    """Fold convolutions of a `Sequential` with the batch norm and ReLU behind them.

    Those leave an identity in their place, so that the others keep their names.
    """
    modules: list[Any] = list(row)
    folded: list[Module] = []
    while modules:
        first, second, third = [*modules, None, None][:3]
        taken = 1
        if _is_pair(first, second):
            rectify = _is(third, ReLU)
            folded.append(_convolution(first, second, rectify=rectify))
            taken = 3 if rectify else 2
        else:
            folded.append(_folded(first, done))
        folded += [Sequential() for _ in range(taken - 1)]
        modules = modules[taken:]
    return Sequential(*folded)


class FusedResNet(Module):
    """A `ResNet` of folded parts."""

    def __init__(self, model: ResNet, done: dict[Module, Module]) -> None:
        super().__init__()
        self.conv1 = _convolution(model.conv1, model.bn1, rectify=True)
        self.maxpool = Sequential() if model.maxpool is None else model.maxpool
        self.stage_names = [
            name for name, _ in model.named_children() if name.startswith("layer")
        ]
        for name in self.stage_names:
            setattr(self, name, _folded(getattr(model, name), done))
        self.avgpool, self.fc = model.avgpool, _folded(model.fc, done)

    def forward(self, x: Array) -> Array:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        x = self.maxpool(self.conv1(x))
        for name in self.stage_names:
            x = getattr(self, name)(x)
        x = self.avgpool(x)
        logits: Array = self.fc(x[:, :, 0, 0])
        return logits


def _convolution(
    conv: Conv2d, bn: BatchNorm2d, *, rectify: bool
) -> FusedConv2d | LayeredConv2d:
    tracks = bn.running_mean is not None
    return (FusedConv2d if tracks else LayeredConv2d)(conv, bn, rectify=rectify)


class FusedBlock(Module):
    """A block of any kind: convolutions in a row, the last one adds the shortcut."""

    def __init__(
        self, block: BasicBlock | Bottleneck, done: dict[Module, Module]
    ) -> None:
        super().__init__()
        self.convs = Sequential(
            *(_convolution(conv, bn, rectify=True) for conv, bn in block.layers())
        )
        self.adds = not isinstance(block, PlainBlock)
        self.downsample = _folded(block.downsample, done)

    def forward(self, x: Array) -> Array:
        """Compute relu(F(x) + shortcut(x)), or relu(F(x)) in a plain network."""
        shortcut = self.downsample(x) if self.adds else None
        *first, last = self.convs
        for conv in first:
            x = conv(x)
        out: Array = last(x, shortcut)
        return out
