"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.curves import learning_curves

__all__ = ["learning_curves"]
