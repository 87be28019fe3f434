"""What users need to test blocks of their own."""

from npresnet.testing.form import GradientError
from npresnet.testing.gradients import GradientCheck, check_gradients
from npresnet.testing.verify import VerifyReport, VerifyRow, verify

__all__ = [
    "GradientCheck",
    "GradientError",
    "VerifyReport",
    "VerifyRow",
    "check_gradients",
    "verify",
]
