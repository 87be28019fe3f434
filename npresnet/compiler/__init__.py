"""Models laid out for speed: other programs for the same networks, made from outside.

The networks in `npresnet.models` are what one reads and trains; nothing in them knows
of this room.
"""

from npresnet.compiler.compiled import CompiledModel, CompiledStep, compile
from npresnet.compiler.folding import InferenceModel, inference
from npresnet.compiler.symbols import CannotCompile
from npresnet.compiler.warming import warmup

__all__ = [
    "CannotCompile",
    "CompiledModel",
    "CompiledStep",
    "InferenceModel",
    "compile",
    "inference",
    "warmup",
]
