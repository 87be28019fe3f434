"""`python -m tests.oracle.receipt resnet50`: write a network's parity receipt.

A receipt lists how far every tensor of one network is from its PyTorch twin, in both
precisions and both modes; `all` writes those of all networks, and the index. The exit
status is 1 when a tolerance is passed. measure.py says what is compared with what.
"""

import argparse
import importlib.metadata
import re
import sys
from pathlib import Path

import npresnet as nr
from tests.oracle.measure import KINDS, STEPS, measure
from tests.oracle.networks import (
    NETWORK_FACTOR32,
    NETWORK_RTOL64,
    RESPONSE_FACTOR,
    TENSOR_FACTOR32,
)

FOLDER = Path(__file__).parents[2] / "docs" / "receipts"
SEED = 0
STEM, LAST = "relu, maxpool", "avgpool, fc, loss"  # rows of several modules
MANY = 45  # blocks: with more, shortcuts get no rows of their own
IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
CIFAR = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
NETWORKS = {
    **{name: (name, {}, (2, 3, 40, 40)) for name in IMAGENET},
    **{
        f"{name}-{shortcut}": (name, {"shortcut": shortcut}, (3, 3, 16, 16))
        for name in CIFAR
        for shortcut in "ABC"
    },
    "plain20": ("plain20", {}, (3, 3, 16, 16)),
}
MODES = {"training": True, "evaluation": False}

ABOUT = f"""\
Every tensor of one step (forward, backward) on random weights and images, and weights
and statistics after {STEPS} steps of SGD (momentum 0.9, Nesterov, weight decay), from
an independently written PyTorch network. An error is the largest difference in a
tensor, divided by the tensor's largest magnitude. Each run is held against PyTorch in
float64 with every ReLU open or closed, and every pooled maximum picked, as in that
run: a sum that rounds to the other side of 0 switches a whole path, which is no
rounding error.

- float64: ours. Limit: {NETWORK_RTOL64:.0e}, or {RESPONSE_FACTOR:g} times what one
  rounding of the images does to PyTorch's own result, where that is more: rounding
  grows with depth, most of all in training mode and where no identity carries the
  signal.
- float32: ours, and PyTorch's own. Limit: {TENSOR_FACTOR32:g} times PyTorch's worst of
  the same kind, and {NETWORK_FACTOR32:g} times in the typical tensor (geometric mean).
"""

INDEX = """\
# Parity receipts

Each is one network against its PyTorch twin, tensor by tensor, in training and in
evaluation mode; `python -m tests.oracle.receipt all` writes them again. The float32
error is a multiple of PyTorch's own.

| network | tensors compared | worst float64 error | worst float32 error |
|---|--:|--:|--:|
"""
ERROR = re.compile(r"0|\d(\.\d)?e[-+]\d\d")
LINE = re.compile(
    r"^\*\*(?P<tensors>[\d,]+) tensors compared: worst float64 error (?P<error>\S+), "
    r"worst float32 error (?P<ratio>\S+) times PyTorch's\.\*\*$",
    re.M,
)


def row_of(name, blocks):
    """Tell which row of the table a tensor belongs to: what belongs together is one."""
    if name == "grad_input":
        return "images"
    if name == "loss":
        return LAST
    kind, _, path = name.partition(":")
    module = path.partition("#")[0] if kind == "activation" else path.rpartition(".")[0]
    if "downsample" in module:
        block = module.partition(".downsample")[0]
        return block if blocks > MANY else f"{block}.downsample"
    parent, _, leaf = module.rpartition(".")
    if leaf == "relu" and parent:
        return parent
    if pair := re.fullmatch(r"(?:conv|bn)(\d)", leaf):
        prefix = f"{parent}." if parent else ""
        return f"{prefix}conv{pair[1]}, bn{pair[1]}"
    if re.fullmatch(r"layer\d", module):
        return "stages"
    if re.fullmatch(r"layer\d\.\d+", module):
        return module
    return STEM if module in ("relu", "maxpool") else LAST


def table(modes):
    """One row for each module: its tensors, and the worst errors in each mode."""
    rows = {}
    names = modes["training"].errors
    blocks = sum(bool(re.search(r"\d\.conv1\.weight$", name)) for name in names) // 2
    for mode, measured in modes.items():
        for name, errors in measured.errors.items():
            rows.setdefault(row_of(name, blocks), {}).setdefault(mode, []).append(
                errors
            )
    heads = [f"{mode}: float64 | float32 | PyTorch's" for mode in MODES]
    yield f"| | tensors | {' | '.join(heads)} |"
    yield "|---|" + "--:|" * 7
    for row, by_mode in sorted(rows.items(), key=lambda item: order(item[0])):
        cells = [str(sum(map(len, by_mode.values())))]
        for mode in MODES:
            for column in ("ours64", "ours32", "torch32"):
                cells.append(number(max(getattr(e, column) for e in by_mode[mode])))
        yield f"| {row} | " + " | ".join(cells) + " |"


def order(row):
    """Sort as the data flow, and blocks by number."""
    first = ["images", "conv1, bn1", STEM]
    last = ["stages", LAST]
    if row in first:
        return (0, first.index(row))
    if row in last:
        return (2, last.index(row))
    stage, block, *rest = row.split(".", 2)
    # A block's own row (its ReLUs, its output) stands behind its convolutions.
    return (1, int(stage[5:]), int(block), rest or ["~"])


def number(error):
    return f"{error:.1e}" if error else "0"


def summary(modes):
    """One row for each kind of tensor and mode: how many, and the worst."""
    yield "| | tensors | float64 | limit | where | float32 | PyTorch's |"
    yield "|---|--:|--:|--:|---|--:|--:|"
    for mode, measured in modes.items():
        for kind, words in KINDS.items():
            error, name = measured.worst64(kind)
            where = name.partition(":")[2].partition("#")[0] or name
            ours, theirs = measured.worst32(kind)
            limit = f"{measured.limits64[kind]:.0e}"
            count = str(len(measured.of_kind(kind)))
            cells = [f"{mode}: {words}", count, number(error), limit]
            cells += [where if error else "equal", number(ours), number(theirs)]
            yield f"| {' | '.join(cells)} |"


def remark(mode, measured):
    ours, theirs = measured.switched
    return (
        f"- In {mode} mode, the learning rate is {measured.lr:.0e} and moves a layer's "
        f"weights by up to {measured.moved:.0e} of their size; of "
        f"{measured.switches:,} ReLUs and maxima in all steps {ours:,} of ours and "
        f"{theirs:,} of PyTorch's switched in float32; "
        f"the typical float32 error is {measured.typical32:.2f} times PyTorch's."
    )


def write(torch, oracle, title):
    """Measure one network; give its receipt and what is beyond its limits."""
    name, options, shape = NETWORKS[title]
    modes = {
        mode: measure(torch, oracle, name, options, shape, training, SEED)
        for mode, training in MODES.items()
    }
    model = nr.models.create(name, **options)
    parameters = sum(p.data.size for p in model.parameters())
    versions = ", ".join(
        f"{package} {importlib.metadata.version(package).split('+')[0]}"
        for package in ("numpy", "numba", "torch")
    )
    failures = [f"{m}, {text}" for m, mode in modes.items() for text in mode.failures()]
    tensors = sum(len(mode.errors) for mode in modes.values())
    worst64 = max(mode.worst64(kind)[0] for mode in modes.values() for kind in KINDS)
    ratio = max(mode.ratio32(kind) for mode in modes.values() for kind in KINDS)
    shortcut = f", shortcut {options['shortcut']}" if options else ""
    lines = [
        f"# {name}{shortcut}: parity with PyTorch",
        "",
        f"{parameters:,} parameters; images {' x '.join(map(str, shape))}; "
        f"seed {SEED}; {nr.get_backend()} kernels, direct; {versions}.",
        "",
        f"**{tensors:,} tensors compared: worst float64 error {number(worst64)}, "
        f"worst float32 error {ratio:.1f} times PyTorch's.**",
        "",
        ABOUT,
        *(remark(mode, measured) for mode, measured in modes.items()),
        "",
        "## By kind",
        "",
        *summary(modes),
        "",
        "## By module",
        "",
        *table(modes),
    ]
    if failures:
        lines += ["", "## Beyond the limits", "", *(f"- {text}" for text in failures)]
    return "\n".join(lines) + "\n", failures


def structure(receipt):
    """Keep what does not depend on the machine: names, counts and the file's shape."""
    kept = []
    for line in receipt.splitlines():
        line = re.sub(r"(numpy|numba|torch) \d[\d.]*\d", r"\1", line)
        if line.startswith("**"):
            line = line.partition(":")[0]
        elif line.startswith("- In "):
            line = line.partition(" the learning rate ")[0]
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            # Which tensor is the worst is not the same everywhere.
            cells = [*cells[:4], "where", *cells[5:]] if len(cells) == 7 else cells
            line = " | ".join("error" if ERROR.fullmatch(c) else c for c in cells)
        kept.append(line)
    return kept


def index(folder):
    """Sum up the receipts that a folder holds, one line each."""
    lines = []
    for title in NETWORKS:
        path = folder / f"{title}.md"
        if path.is_file():
            found = LINE.search(path.read_text(encoding="utf-8"))
            lines.append(
                f"| [{title.replace('-', ' ')}]({path.name}) | {found['tensors']} | "
                f"{found['error']} | {found['ratio']} |\n"
            )
    return INDEX + "".join(lines)


def titles(network, shortcut):
    if network == "all":
        return list(NETWORKS)
    found = [
        title
        for title, (name, options, _) in NETWORKS.items()
        if name == network and shortcut in (None, options.get("shortcut"))
    ]
    if not found:
        names = sorted({name for name, _, _ in NETWORKS.values()})
        with_shortcut = f" with shortcut {shortcut}" if shortcut else ""
        raise ValueError(
            f"no receipt for {network}{with_shortcut}; there are {', '.join(names)}"
        )
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.oracle.receipt", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("network", help="such as resnet50, or all")
    parser.add_argument("--shortcut", choices=list("ABC"), help="one of the three only")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    given = parser.parse_args(arguments)
    try:
        wanted = titles(given.network, given.shortcut)
    except ValueError as error:
        parser.error(str(error))
    import torch

    from tests.oracle import resnet

    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    beyond = 0
    for title in wanted:
        receipt, failures = write(torch, resnet, title)
        (given.out / f"{title}.md").write_text(receipt, encoding="utf-8")
        print(f"{title}: {LINE.search(receipt)[0].strip('*')}", flush=True)
        for failure in failures:
            print(f"  beyond its limit: {failure}", file=sys.stderr)
        beyond += len(failures)
    text = index(given.out)
    (given.out / "README.md").write_text(text, encoding="utf-8")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
