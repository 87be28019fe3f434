"""A recipe: everything that decides a training run, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from npresnet.data.augment import RandomCropFlip
from npresnet.optim import (
    SGD,
    Constant,
    Cosine,
    OneCycle,
    Schedule,
    StepDecay,
    parameter_groups,
)
from npresnet.untrusted.text import abridged, shown

if TYPE_CHECKING:
    from npresnet.nn import Module

SCHEDULES = ("constant", "steps", "cosine", "one-cycle")
LAST_BATCHES = ("join", "drop", "keep")

# Settings that one schedule alone reads.
_OF_SCHEDULE = {
    "peak_at": ("one-cycle",),
    "start_lr": ("one-cycle",),
    "final_lr": ("cosine", "one-cycle"),
    "warmup_epochs": ("cosine",),
    "milestones": ("steps",),
    "milestone_steps": ("steps",),
    "gamma": ("steps",),
}
# What names a recipe, and is no setting.
LABELS = ("name", "description", "source", "sources")


@dataclass(frozen=True)
class Recipe:
    """All the settings of a training run.

    Epochs count passes over the training set, steps count batches; learning rates
    are per step; losses are in nats.

    Raises
    ------
    ValueError
        If a setting is out of its range, or two of them exclude each other.
    """

    name: str
    description: str
    # Where the settings come from, those apart that `sources` names.
    source: str

    dataset: str
    model: str
    # "A", "B" or "C" for the CIFAR nets; None for nets that have no such choice.
    shortcut: str | None

    epochs: int
    batch_size: int

    # Stochastic gradient descent (npresnet.optim.SGD). `lr` is the highest rate.
    lr: float
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    # True: no weight decay on batch norm and biases.
    spare_norm_and_bias: bool = False
    # What becomes of an epoch's last batch where it is smaller than the others. "join":
    # a single image joins the batch before, as batch norm has nothing to compare it
    # with; "drop": whatever does not fill a batch is left out; "keep": it is a batch.
    last_batch: str = "join"
    # Stop after so many steps, within an epoch if need be; None: whole epochs.
    max_steps: int | None = None

    # "constant"; "steps": times `gamma` at each milestone; "cosine": down to
    # `final_lr`; "one-cycle": a straight line up to `lr`, another down to `final_lr`.
    schedule: str = "one-cycle"
    peak_at: float = 0.3  # one-cycle: share of the steps spent rising
    start_lr: float | None = None  # one-cycle: the first rate; None for lr / 25
    final_lr: float = 0.0  # cosine and one-cycle
    warmup_epochs: float = 0.0  # cosine
    milestones: tuple[float, ...] = ()  # steps: in epochs,
    milestone_steps: tuple[int, ...] = ()  # or in steps
    gamma: float = 0.1  # steps

    # "channel": minus the data set's mean, over its deviation, per channel. "pixel":
    # minus the training images' mean at every pixel, bytes scaled to [0, 1].
    normalization: str = "channel"
    # Random crop after padding by so many pixels of "mean" colour or "black" (right
    # where the background is black); random horizontal flip; a square of so many
    # pixels a side painted over at a random place.
    crop_padding: int = 0
    crop_fill: str = "mean"
    flip: bool = False
    cutout: int = 0
    # Share of the target that is spread over all classes.
    label_smoothing: float = 0.0

    # What is measured and kept is an average of the weights: an exponential one over
    # the steps, which keeps this share of itself at each; or the plain one over the
    # ends of the last so many epochs. 0: the weights as they are.
    ema_decay: float = 0.0
    average_epochs: int = 0

    # So many training images are held out to choose by; the test images are then
    # looked at once, after the last epoch.
    validation: int = 0
    # Measure the mean of the logits of an image and of its mirror image.
    test_flip: bool = False

    # Single settings that come from elsewhere: "setting setting ..." -> source.
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, (wanted, holds) in _CHECKS.items():
            value = getattr(self, name)
            if not holds(value):
                got = abridged(value)
                raise ValueError(f"{name}: expected {wanted}, got {got}")
        _exclude(self, "milestones", "milestone_steps")
        _exclude(self, "ema_decay", "average_epochs")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: expected a momentum above 0 to go with it")

    def changed(self, **changes: Any) -> Recipe:
        """Return this recipe with the settings that are not None replaced.

        Examples
        --------
        >>> from npresnet.training import recipes
        >>> recipes.get("digits-quick").changed(epochs=3, lr=None).epochs
        3
        """
        given = {name: value for name, value in changes.items() if value is not None}
        return replace(self, **given).sourced_from(self)

    def sourced_from(self, origin: Recipe) -> Recipe:
        """Return this recipe with the sources of one that it was changed from."""
        before = origin.settings()
        other = [
            name for name, value in self.settings().items() if value != before[name]
        ]
        if not other:
            return replace(self, sources=origin.sources)
        kept = {
            " ".join(name for name in names.split() if name not in other): source
            for names, source in origin.sources.items()
        }
        return replace(self, sources={" ".join(other): "set for this run", **kept})

    def fitted_to(self, images: int) -> Recipe:
        """Return this recipe without the epochs that `max_steps` leaves no room for.

        Parameters
        ----------
        images : int
            Number of training images.
        """
        if self.max_steps is None:
            return self
        needed = math.ceil(self.max_steps / self.steps_per_epoch(images))
        return replace(self, epochs=min(self.epochs, needed))

    def steps_per_epoch(self, images: int) -> int:
        """Return the number of batches in an epoch of `images` images."""
        full, left_over = divmod(images, self.batch_size)
        if self.last_batch == "drop" or self.joins_last_image(images):
            return full
        return full + (left_over > 0)

    def joins_last_image(self, images: int) -> bool:
        """Tell whether one image is left over and joins the batch before it."""
        left_over = images > self.batch_size and images % self.batch_size == 1
        return left_over and self.last_batch == "join"

    def images_of(self, steps: int, images: int) -> int:
        """Return how many of an epoch's `images` its first `steps` batches hold."""
        if steps == self.steps_per_epoch(images) and self.last_batch != "drop":
            return images
        return steps * self.batch_size

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the number of steps of the whole run."""
        total = self.epochs * steps_per_epoch
        return total if self.max_steps is None else min(total, self.max_steps)

    def make_schedule(self, steps_per_epoch: int) -> Schedule:
        """Return the learning rate as a function of the step number.

        Parameters
        ----------
        steps_per_epoch : int
            Number of batches in an epoch.
        """
        total = self.total_steps(steps_per_epoch)
        if self.schedule == "constant" or total < 2:
            return Constant(self.lr)
        if self.schedule == "steps":
            epochs = tuple(round(m * steps_per_epoch) for m in self.milestones)
            return StepDecay(self.lr, self.milestone_steps or epochs, self.gamma)
        if self.schedule == "cosine":
            warmup = min(round(self.warmup_epochs * steps_per_epoch), total - 1)
            return Cosine(self.lr, total, warmup_steps=warmup, final_lr=self.final_lr)
        return OneCycle(
            self.lr,
            total,
            peak_at=self.peak_at,
            start_lr=self.start_lr,
            final_lr=self.final_lr,
        )

    def make_augmentation(self, channels: int) -> RandomCropFlip | None:
        """Return what changes each batch of images at random, or None."""
        if not (self.crop_padding or self.flip or self.cutout):
            return None
        fill = (0,) * channels if self.crop_fill == "black" else None
        cutout: dict[str, Any] = {"cutout": self.cutout} if self.cutout else {}
        return RandomCropFlip(self.crop_padding, self.flip, fill, **cutout)

    def make_optimizer(self, model: Module) -> SGD:
        """Return the optimiser of a model's parameters."""
        groups = parameter_groups(model, self.weight_decay, self.spare_norm_and_bias)
        return SGD(groups, self.lr, momentum=self.momentum, nesterov=self.nesterov)

    def settings(self) -> dict[str, Any]:
        """Return everything but name, description and source."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name not in LABELS
        }

    def unused(self) -> list[str]:
        """List the settings that change nothing here: another schedule's, and zeros."""
        return [
            name
            for name, value in self.settings().items()
            if self.schedule not in _OF_SCHEDULE.get(name, SCHEDULES)
            or (name in _OFF and value == _OFF[name])
            or (name == "crop_fill" and not self.crop_padding)
        ]

    def source_of(self, setting: str) -> str:
        """Return where a setting's value comes from."""
        for names, source in self.sources.items():
            if setting in names.split():
                return source
        return self.source

    def to_dict(self) -> dict[str, Any]:
        """Return everything but `sources` as plain values, for JSON."""
        return {
            "name": self.name,
            "description": self.description,
            "source": self.source,
            **{
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.settings().items()
            },
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Recipe:
        """Rebuild a recipe from `to_dict`'s settings.

        Raises
        ------
        ValueError
            If a setting is unknown or one without default is missing.
        """
        known = {entry.name for entry in fields(cls)} - {"sources"}
        unknown = set(settings) - known
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"recipe: unknown settings {shown(names)}")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
        }
        try:
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"recipe: {error}") from None


# The value with which a setting does nothing.
_OFF = {
    "max_steps": None,
    "warmup_epochs": 0,
    "milestones": (),
    "milestone_steps": (),
    "crop_padding": 0,
    "cutout": 0,
    "label_smoothing": 0,
    "ema_decay": 0,
    "average_epochs": 0,
    "validation": 0,
}

_Check = tuple[str, Callable[[Any], bool]]


def _whole(least: int) -> _Check:
    def holds(value: Any) -> bool:
        return type(value) is int and value >= least

    return f"a whole number of at least {least}", holds


def _real(wanted: str, holds: Callable[[float], bool]) -> _Check:
    def finite_and_holds(value: Any) -> bool:
        number = type(value) in (int, float) and math.isfinite(value)
        return number and holds(value)

    return wanted, finite_and_holds


def _or_none(check: _Check) -> _Check:
    wanted, holds = check
    return f"{wanted}, or None", lambda value: value is None or holds(value)


def _one_of(*values: str) -> _Check:
    return (
        f"one of {', '.join(values)}",
        lambda value: isinstance(value, str) and value in values,
    )


def _ascending(of: _Check) -> _Check:
    wanted, holds = of

    def ascending(values: Any) -> bool:
        listed = isinstance(values, tuple | list)
        return listed and all(map(holds, values)) and list(values) == sorted(values)

    return f"ascending numbers, each {wanted}", ascending


_TRUTH: _Check = ("True or False", lambda value: type(value) is bool)
_POSITIVE = _real("a finite number above 0", lambda value: value > 0)
_NOT_NEGATIVE = _real("a finite number of at least 0", lambda value: value >= 0)
_SHARE = _real("a number from 0 to below 1", lambda value: 0 <= value < 1)

_TEXT: _Check = ("text", lambda value: isinstance(value, str))
_WORD: _Check = ("a name", lambda value: isinstance(value, str) and value != "")

_CHECKS: dict[str, _Check] = {
    "name": _WORD,
    "description": _TEXT,
    "source": _TEXT,
    "dataset": _WORD,
    "model": _WORD,
    "shortcut": _or_none(_one_of("A", "B", "C")),
    "sources": (
        "settings and where they come from",
        lambda value: (
            isinstance(value, Mapping)
            and all(isinstance(text, str) for pair in value.items() for text in pair)
        ),
    ),
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "lr": _POSITIVE,
    "momentum": _SHARE,
    "nesterov": _TRUTH,
    "weight_decay": _NOT_NEGATIVE,
    "spare_norm_and_bias": _TRUTH,
    "last_batch": _one_of(*LAST_BATCHES),
    "max_steps": _or_none(_whole(1)),
    "schedule": _one_of(*SCHEDULES),
    "peak_at": _real("a share between 0 and 1", lambda value: 0 < value < 1),
    "start_lr": _or_none(_NOT_NEGATIVE),
    "final_lr": _NOT_NEGATIVE,
    "warmup_epochs": _NOT_NEGATIVE,
    "milestones": _ascending(_POSITIVE),
    "milestone_steps": _ascending(_whole(1)),
    "gamma": _POSITIVE,
    "normalization": _one_of("channel", "pixel"),
    "crop_padding": _whole(0),
    "crop_fill": _one_of("mean", "black"),
    "flip": _TRUTH,
    "cutout": _whole(0),
    "label_smoothing": _SHARE,
    "ema_decay": _SHARE,
    "average_epochs": _whole(0),
    "validation": _whole(0),
    "test_flip": _TRUTH,
}


def _exclude(recipe: Recipe, one: str, other: str) -> None:
    if getattr(recipe, one) and getattr(recipe, other):
        raise ValueError(f"{one}: expected none beside {other}, got both")
