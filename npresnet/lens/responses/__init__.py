"""Layer responses: how large what the 3x3 convolutions give is, layer by layer."""

from npresnet.lens.responses.measure import responses
from npresnet.lens.responses.result import ResponseRow, Responses

__all__ = [
    "ResponseRow",
    "Responses",
    "responses",
]
