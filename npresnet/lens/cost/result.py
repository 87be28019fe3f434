"""What `npresnet.lens.cost.measure` returns: the cost of each layer, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from npresnet.lens.cost.torchvision_figures import Published, published
from npresnet.lens.shared.result import Result, Table, column, plain

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class CostRow:
    """The cost of one layer, for one image.

    Attributes
    ----------
    name : str
        Path in the model, as in ``layer1.0.conv1``.
    kind : str
        Class of the layer.
    output_shape : tuple of int
        ``(C, H, W)`` or ``(features,)``, of the last call if there are several.
    parameters : int
        Numbers that learn.
    macs : int
        Multiply-adds of convolutions and linear layers, as papers count them.
    calls : int
        How often one forward pass calls the layer.
    parameter_bytes : int
        Memory of the parameters.
    output_bytes : int
        Memory of the outputs of all calls.
    im2col_bytes : int
        Memory of the columns into which im2col would copy a convolution's input, of
        all calls; they are not written down here.
    kept_bytes : int or None
        Memory that the layer's caches hold for the backward pass, in training mode,
        parameters and buffers left out. An array that several caches share counts
        where it first appears: a projection's convolution keeps what the branch's first
        one keeps already, and has 0 here. None where the model has no backward pass.
    seconds : float or None
        Median time of a forward pass that is spent in the layer; None where it was
        not measured.
    backward_seconds : float or None
        Likewise of a backward pass, which computes all gradients, the images' too;
        None also where the model has no backward pass.
    peak_share : float or None
        Multiply-adds per second of the forward pass, over what the machine reached in
        a product of matrices (`Cost.peak`); None where there are none or no time was
        measured. Winograd's convolution does with fewer multiplications than are
        counted here, and may exceed 1.
    """

    name: str = column("layer")
    kind: str = column("type")
    output_shape: tuple[int, ...] = column("output")
    parameters: int = column("parameters")
    macs: int = column("MACs")
    calls: int = column("calls")
    parameter_bytes: int = column("parameters, bytes")
    output_bytes: int = column("outputs, bytes")
    im2col_bytes: int = column("im2col, bytes")
    kept_bytes: int | None = column("kept, bytes")
    seconds: float | None = column("seconds", ".1e")
    backward_seconds: float | None = column("backward, seconds", ".1e")
    peak_share: float | None = column("share of peak", ".1%")


@dataclass(frozen=True, repr=False)
class Cost(Result):
    """The cost of a network, for one image.

    Attributes
    ----------
    input_shape : tuple of int
        ``(C, H, W)``.
    rows : tuple of CostRow
        Layers in the order of the forward pass.
    peak : float or None
        Operations per second, two for a multiply-add, that the machine reached in
        NumPy's product of two matrices, in the model's dtype and with as many threads;
        None where no times were measured.
    """

    input_shape: tuple[int, ...]
    rows: tuple[CostRow, ...]
    peak: float | None = None

    @property
    def parameters(self) -> int:
        """Numbers that learn."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds of all convolutions and linear layers."""
        return sum(row.macs for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        """Memory of the parameters."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def output_bytes(self) -> int:
        """Memory of all layers' outputs."""
        return sum(row.output_bytes for row in self.rows)

    @property
    def im2col_bytes(self) -> int:
        """Memory of all columns, if im2col wrote them and a backward pass kept them."""
        return sum(row.im2col_bytes for row in self.rows)

    @property
    def kept_bytes(self) -> int | None:
        """Memory that a forward pass keeps for the backward pass, shared arrays once.

        None where the model has no backward pass.
        """
        return _total([row.kept_bytes for row in self.rows])

    @property
    def seconds(self) -> float | None:
        """Time spent in layers; None where it was not measured."""
        return _total([row.seconds for row in self.rows])

    @property
    def backward_seconds(self) -> float | None:
        """Time that layers take to go backward; None where it was not measured."""
        return _total([row.backward_seconds for row in self.rows])

    @property
    def peak_share(self) -> float | None:
        """Multiply-adds per second of the forward pass, all layers', over the peak."""
        return share_of_peak(self.macs, self.seconds, self.peak)

    @property
    def torchvision(self) -> Published | None:
        """What torchvision's documentation says about the network.

        It goes by the number of parameters and the shape of the images; None where
        that is none of its ResNets.
        """
        return published(self.parameters, self.input_shape)

    def table(self) -> Table:
        """Return what fits on a terminal; `records` has all columns, and bytes."""
        columns: list[tuple[str, str, str, list[Any]]] = [
            ("name", "layer", "", [row.name for row in self.rows]),
            ("kind", "type", "", [row.kind for row in self.rows]),
            ("output_shape", "output", "", [row.output_shape for row in self.rows]),
            ("parameters", "parameters", "", [row.parameters for row in self.rows]),
            ("mmacs", "MACs M", ".3f", self._scaled("macs", 1e-6)),
            ("kept_kib", "kept KiB", ",.0f", self._scaled("kept_bytes", 2**-10)),
            ("im2col_kib", "im2col KiB", ",.0f", self._scaled("im2col_bytes", 2**-10)),
            ("ms", "ms", ".2f", self._scaled("seconds", 1e3)),
            ("backward_ms", "back ms", ".2f", self._scaled("backward_seconds", 1e3)),
            ("peak_share", "peak", ".1%", [row.peak_share for row in self.rows]),
        ]
        filled = [one for one in columns if any(v is not None for v in one[3])]
        if not filled:
            return Table((), (), (), ())
        names, titles, forms, values = zip(*filled, strict=True)
        return Table(names, titles, forms, tuple(zip(*values, strict=True)))

    def records(self) -> Table:
        """Return all columns, in bytes and seconds."""
        return Table.of(self.rows)

    def _scaled(self, name: str, factor: float) -> list[float | None]:
        values = [getattr(row, name) for row in self.rows]
        return [None if value is None else factor * value for value in values]

    def summary(self) -> str:
        """Say what the layers come to, and what torchvision says where it does."""
        lines = [
            f"one image of {'x'.join(map(str, self.input_shape))}: "
            f"{self.parameters:,} parameters ({self.parameter_bytes / 2**20:.2f} MiB), "
            f"{self.macs:,} MACs ({self.macs / 1e9:.3f} G)"
        ]
        if (figures := self.torchvision) is not None:
            lines.append(
                f"torchvision's {figures.name}: {figures.parameters:,} parameters, "
                f"{figures.gmacs:.3f} G; its weights reach {figures.top1:.2f} % "
                "(its documentation, IMAGENET1K_V1)"
            )
        memory = (
            f"outputs of {self.output_bytes / 2**20:.2f} MiB, "
            f"im2col would write {self.im2col_bytes / 2**20:.2f} MiB"
        )
        if self.kept_bytes is not None:
            memory += f", kept for the backward pass {self.kept_bytes / 2**20:.2f} MiB"
        lines.append(memory)
        if self.seconds is not None:
            timed = f"forward {1000 * self.seconds:.3g} ms"
            if self.backward_seconds is not None:
                timed += f" and backward {1000 * self.backward_seconds:.3g} ms"
            if self.peak is not None and self.peak_share is not None:
                timed += (
                    f"; forward at {self.peak_share:.1%} of {self.peak / 1e9:.3g} "
                    "GFLOP/s, the peak (NumPy's matrix product)"
                )
            lines.append(timed)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the totals, as plain data."""
        totals = {
            "parameters": self.parameters,
            "macs": self.macs,
            "parameter_bytes": self.parameter_bytes,
            "output_bytes": self.output_bytes,
            "im2col_bytes": self.im2col_bytes,
            "kept_bytes": self.kept_bytes,
            "seconds": self.seconds,
            "backward_seconds": self.backward_seconds,
            "peak_share": self.peak_share,
            "torchvision": plain(self.torchvision),
        }
        return {**super().to_dict(), **totals}

    def plot(self) -> Figure:
        """Draw what every layer costs, from the first to the last."""
        from npresnet.lens.cost.picture import costs

        return costs(self)


def share_of_peak(macs: int, seconds: float | None, peak: float | None) -> float | None:
    """Put multiply-adds per second in relation to operations per second."""
    return 2 * macs / seconds / peak if macs and seconds and peak else None


def _total(numbers: Sequence[Number | None]) -> Number | None:
    return None if None in numbers else sum(filter(None, numbers))
