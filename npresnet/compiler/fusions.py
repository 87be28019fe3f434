"""Which layers are put into one line of a program.

- Batch norm and the ReLU behind it, with the addition between them if there is one, are
  one pass over memory. Nothing in between is written down: on the way back, the ReLU's
  mask is found out anew, from batch norm's input or from what the ReLU gave.
- A gradient below such a ReLU that only the batch norm reads is not written either.
- Where the gradient that has come through a convolution is added to another, the
  convolution adds while it writes.
"""

from __future__ import annotations

from collections import Counter

from npresnet.compiler.symbols import Value
from npresnet.compiler.tracing import Node, Trace


class Fusions:
    """What is put together of what a model's passes do.

    Attributes
    ----------
    producers : dict of Value to Node
        Where values come from, on the way forward.
    rectified : dict of Node to (Node, Value or None)
        ReLUs that are one line with a batch norm: that one, and what is added.
    absorbed : set of Node
        Batch norms and additions that have no line of their own for it.
    unwritten : dict of Value to (Value, str)
        Gradients below ReLUs that are not written down: the one above, and the ReLU's
        path.
    additions : dict of Node to Node
        Additions on the way back, and the convolution that does each.
    delayed : set of Node
        Those convolutions: their gradient is written where the addition stood.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.producers = {node.outputs[0]: node for node in trace.forward}
        self.rectified: dict[Node, tuple[Node, Value | None]] = {}
        self.absorbed: set[Node] = set()
        self.unwritten: dict[Value, tuple[Value, str]] = {}
        self.additions: dict[Node, Node] = {}
        self._rectify()
        self._leave_unwritten()
        self._add()
        self.delayed = set(self.additions.values())

    def _rectify(self) -> None:
        uses = _uses(self.trace.forward, self.trace.out)

        def norm_of(value: Value) -> Node | None:
            node = self.producers.get(value)
            ours = node is not None and node.kind == "batch_norm" and uses[value] == 1
            return node if ours else None

        for relu in self.trace.forward:
            if relu.kind != "relu":
                continue
            before = self.producers.get(relu.inputs[0])
            if before is None or uses[relu.inputs[0]] != 1:
                continue
            if (norm := norm_of(relu.inputs[0])) is not None:
                self.rectified[relu] = norm, None
                self.absorbed.add(norm)
            elif before.kind == "add":
                for branch, other in (before.inputs, before.inputs[::-1]):
                    if (norm := norm_of(branch)) is not None and branch is not other:
                        self.rectified[relu] = norm, other
                        self.absorbed |= {norm, before}
                        break

    def _leave_unwritten(self) -> None:
        nodes = self.trace.backward
        uses = _uses(nodes, self.trace.grad_x)
        readers = {value: node for node in nodes for value in node.inputs}
        for node in nodes:
            if node.kind != "relu_backward" or node.forward not in self.rectified:
                continue
            norm, residual = self.rectified[node.forward]
            reader = readers.get(node.outputs[0])
            if (
                residual is None
                and norm.facts["training"]
                and uses[node.outputs[0]] == 1
                and reader is not None
                and reader.kind == "batch_norm_backward"
                and reader.forward is norm
            ):
                self.unwritten[node.outputs[0]] = node.inputs[0], node.path

    def _add(self) -> None:
        nodes = self.trace.backward
        producers = {node.outputs[0]: node for node in nodes}
        uses = _uses(nodes, self.trace.grad_x)
        for node in nodes:
            if node.kind != "add":
                continue
            for value in node.inputs:
                conv = producers.get(value)
                if (
                    conv is not None
                    and conv.kind == "conv2d_backward"
                    and uses[value] == 1
                ):
                    self.additions[node] = conv
                    break


def _uses(nodes: list[Node], result: Value | None) -> Counter[Value]:
    """Count how often each value is read; once more if it is the result."""
    uses = Counter(value for node in nodes for value in node.inputs)
    if result is not None:
        uses[result] += 1
    return uses
