"""The path-length spectrum: the gradient, split by how many branches it crossed."""

from npresnet.lens.spectrum.measure import spectrum
from npresnet.lens.spectrum.result import Spectrum, SpectrumRow

__all__ = [
    "Spectrum",
    "SpectrumRow",
    "spectrum",
]
