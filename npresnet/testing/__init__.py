"""What users need to test blocks of their own."""

from npresnet.testing.gradients import (
    GradientCheck,
    GradientError,
    check_gradients,
)

__all__ = ["GradientCheck", "GradientError", "check_gradients"]
