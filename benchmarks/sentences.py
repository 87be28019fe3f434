"""Where the pages quote figures of `benchmarks.figures`, word for word.

Braces are figures of docs/figures.json, as `group[name]`; see `Figure` for how
they are written. White space in the pages is as it likes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Figure(float):
    """A number as pages write it.

    ``{:.1p}`` is a percentage without its sign, ``{:2r}`` rounds to two digits that
    count, ``{:w}`` is a word.
    """

    def __format__(self, form: str) -> str:
        if form == "w":
            return "none one two three four five six seven eight nine".split()[
                round(self)
            ]
        if form.endswith("p"):
            return format(100 * self, f"{form[:-1]}f")
        if form.endswith("r"):
            digits = int(form[:-1]) - 1 - math.floor(math.log10(abs(self)))
            return format(round(float(self), digits), f",.{max(digits, 0)}f")
        return format(float(self), form)


LENS, DEPTH = "docs/lens.md", "docs/lens_depth.md"
LESIONS, CLAIMS = "docs/lens_lesions.md", "docs/claims.md"

SENTENCES: list[tuple[str, str]] = [
    (
        LENS,
        "which takes {river[plain20][stopped_low]:.0p} to "
        "{river[plain20][stopped_high]:.0p} % of the norm, and each branch makes up "
        "for more than that: through its nine blocks the norm grows "
        "{river[plain20][growth]:.0f} times, in the residual net "
        "{river[residual20][growth]:.0f} times. With 56 layers it is "
        "{river[plain56][growth]:2r} times against {river[residual56][growth]:.0f}:",
    ),
    (
        CLAIMS,
        "they are the two that change the shape, "
        "{river[digits56][least0][growth]:.2f} and "
        "{river[digits56][least1][growth]:.2f}; one more keeps "
        "{river[digits56][least2][growth]:.3f}.",
    ),
    (
        CLAIMS,
        "whose gradients are exactly zero in the first step: "
        "{claims[zero-gamma][1][2]} of {claims[zero-gamma][1][1]}.",
    ),
    (
        LENS,
        "The average path through a fresh ResNet-110 crosses "
        "{spectrum[fresh110][of_paths]:.0f} of the 54 branches. The gradient came "
        "along paths that cross {spectrum[fresh110][mean]:.1f} on average.",
    ),
    (
        LENS,
        "the gradient crossed {spectrum[published][mean]:.1f} of 9 branches on "
        "average, more than the average path's {spectrum[published][of_paths]:.1f}",
    ),
    (
        CLAIMS,
        "{spectrum[fresh110][share_5_to_17]:.1p} % of the gradient crossed 5 to 17 "
        "branches, which are those 10 to 34 layers, and "
        "{spectrum[fresh110][paths_5_to_17]:.2p} % of all paths do.",
    ),
    (
        CLAIMS,
        "from 56 to 110 layers twice the branches, {spectrum[fresh56][mean]:.1f} to "
        "{spectrum[fresh110][mean]:.1f} of them crossed.",
    ),
    (
        LENS,
        "{published_looks[opposite_low]:.0p} to {published_looks[opposite_high]:.0p} % "
        "of neighbouring pixels pull the score in opposite directions (64 test images",
    ),
    (
        LENS,
        "{published_looks[dead]:.0f} of {published_looks[channels]:.0f} channels never "
        "open on the first 256 test images",
    ),
    (
        LENS,
        "gets {lesions[residual][whole]:.1p} % right, and still "
        "{lesions[residual][low]:.0p} to {lesions[residual][high]:.1p} % with any one "
        "of its blocks deleted; its plain twin falls from "
        "{lesions[plain][whole]:.1p} % to chance",
    ),
    (
        LESIONS,
        "and get {lesions[residual][whole]:.1p} % (residual) and "
        "{lesions[plain][whole]:.1p} % (plain) of the 360 test images right.",
    ),
    (
        LESIONS,
        "| one block deleted, nine ways | {lesions[residual][low]:.1p} to "
        "{lesions[residual][high]:.1p} % | {lesions[plain][low]:.1p} to "
        "{lesions[plain][high]:.1p} % | {lesions[plain][chance]:.1p} % |",
    ),
    (
        LESIONS,
        "| a pair of blocks swapped, five ways | {lesions[residual][swap_low]:.1p} to "
        "{lesions[residual][swap_high]:.1p} % | {lesions[plain][swap_low]:.1p} to "
        "{lesions[plain][swap_high]:.1p} % | |",
    ),
    (
        LESIONS,
        "| three random blocks removed, five draws: mean (range) | "
        "{lesions[residual][three]:.1p} % ({lesions[residual][three_low]:.1p} to "
        "{lesions[residual][three_high]:.1p} %) | {lesions[plain][three]:.1p} % "
        "({lesions[plain][three_low]:.1p} to {lesions[plain][three_high]:.1p} %) | |",
    ),
    (
        LESIONS,
        "the two keep {lesions[residual50][low]:.1p} to "
        "{lesions[residual50][high]:.1p} % and {lesions[plain50][low]:.1p} to "
        "{lesions[plain50][high]:.1p} % when a block is deleted that keeps the shape",
    ),
    (
        LESIONS,
        "| none | | {lesions_published[accuracy]:.2p} % | "
        "{lesions_published[loss]:.3f} |",
    ),
    *(
        (
            LESIONS,
            f"| `layer{stage}.{block}` | "
            + ("zero padding" if stage > 1 and not block else "identity")
            + f" | {{lesions_published[rows][layer{stage}_{block}][0]:.2p}} % | "
            + f"{{lesions_published[rows][layer{stage}_{block}][1]:.3f}} |",
        )
        for stage in (1, 2, 3)
        for block in (0, 1, 2)
    ),
    (
        LESIONS,
        "one random block less leaves {lesions_published[removed][n1]:.1p} %, two "
        "{lesions_published[removed][n2]:.1p} %, three "
        "{lesions_published[removed][n3]:.1p} %, four "
        "{lesions_published[removed][n4]:.1p} %, where a constant answer gets "
        "{lesions_published[chance]:.1p} %. A pair swapped leaves "
        "{lesions_published[swap_low]:.0p} to {lesions_published[swap_high]:.0p} % "
        "where neighbours change places, and {lesions_published[swap_far]:.1p} % where "
        "`layer1.0` and `layer1.2` do.",
    ),
    *(
        (
            DEPTH,
            f"| {depth} | {{degradation[plain{depth}][loss]:.3f}} "
            f"({{degradation[plain{depth}][low]:.3f}} to "
            f"{{degradation[plain{depth}][high]:.3f}}) | "
            f"{{degradation[resnet{depth}][loss]:.3f}} "
            f"({{degradation[resnet{depth}][low]:.3f}} to "
            f"{{degradation[resnet{depth}][high]:.3f}}) | "
            f"{{degradation[plain{depth}][error]:.1p}} % | "
            f"{{degradation[resnet{depth}][error]:.1p}} % |",
        )
        for depth in (8, 20, 32, 56)
    ),
    (DEPTH, "and the means are {responses[plain]:.2f} and {responses[residual]:.2f}."),
    (
        DEPTH,
        "(10,000 test images of CIFAR-10) the mean is {responses[published]:.2f}.",
    ),
    (
        DEPTH,
        "the last layer of all is the strongest ({responses[published_last]:.2f}).",
    ),
    (
        CLAIMS,
        "takes shorter paths than it did fresh, {long_trained[after]:.1f} branches on "
        "average after {long_trained[before]:.1f} (32 training images",
    ),
    (
        LENS,
        "| residual | {shattered[resnet8]:.3f} | {shattered[resnet14]:.3f} | "
        "{shattered[resnet20]:.3f} | {shattered[resnet32]:.3f} | "
        "{shattered[resnet56]:.3f} | {shattered[resnet110]:.3f} |",
    ),
    (
        LENS,
        "| plain | {shattered[plain8]:.3f} | {shattered[plain14]:.3f} | "
        "{shattered[plain20]:.3f} | {shattered[plain32]:.3f} | "
        "{shattered[plain56]:.3f} | {shattered[plain110]:.3f} |",
    ),
    (
        LENS,
        "White noise comes to {shattered[white]:.3f}, Brownian motion to "
        "{shattered[brownian]:.3f}. With four other seeds, the net of 56 layers has "
        "{shattered[resnet56_low]:.3f} to {shattered[resnet56_high]:.3f} with "
        "shortcuts, and {shattered[plain56_low]:.3f} to "
        "{shattered[plain56_high]:.3f} without",
    ),
    (
        LENS,
        "{shattered[resnet56_eval]:.3f} and {shattered[plain56_eval]:.3f} for the two "
        "nets of 56 layers, {shattered[resnet110_eval]:.3f} and "
        "{shattered[plain110_eval]:.3f} for those of 110",
    ),
    (
        LENS,
        "The residual net gets {landscape[resnet56][right]:.0f} of 360 test images "
        "right, the plain net {landscape[plain56][right]:.0f}. Around the residual net "
        "there is one round valley: from the heavy line, where the network is as good "
        "as a guess (2.30 nats), to the middle the loss falls "
        "{landscape[resnet56][fall]:2r} times, and of 1,681 points "
        "{landscape[resnet56][minima]:w} is a local minimum. Around the plain net the "
        "region that beats a guess is about as large "
        "({landscape[plain56][valley]:.1p} % of the points against "
        "{landscape[resnet56][valley]:.1p} %), but shallow and ragged, with "
        "{landscape[plain56][minima]:w} local minima, and beyond its rim the loss "
        "rises to {landscape[plain56][highest]:.0e}",
    ),
    (
        LENS,
        "the loss stays below {landscape[resnet56_batch][highest]:.1f} (residual) and "
        "{landscape[plain56_batch][highest]:.1f} nats (plain). The shapes remain: "
        "{landscape[resnet56_batch][minima]:w} local minimum against "
        "{landscape[plain56_batch][minima]:.0f}, of 441 points.",
    ),
    (
        LENS,
        "({landscape[plain32][right]:.0f} of 360 right, the residual net "
        "{landscape[resnet32][right]:.0f})",
    ),
    (
        LENS,
        "{landscape_published[center]:2r} nats on 256 training images, "
        "{landscape_published[valley]:.1p} % of the points better than a guess, "
        "{landscape_published[minima]:w} local minimum among 441",
    ),
    (
        LENS,
        "In the middle of the lower row are the mistakes, {digits[mistakes]:w} on 360 "
        "images: the {digits[image83][label]} that is read as a "
        "{digits[image83][predicted]} ({digits[image83][probability]:.1p} %) was "
        "looked at where its upper bow seems to close, the {digits[image138][label]} "
        "that is read as a {digits[image138][predicted]} "
        "({digits[image138][probability]:.1p} %) along its stem. The "
        "{digits[image26][label]} and the {digits[image322][label]} beside them are "
        "right here, with {digits[image26][probability]:.1p} % and "
        "{digits[image322][probability]:.1p} %, and wrong elsewhere",
    ),
    (
        LENS,
        "{steps[digits]:.1f} MB for this network with the digits, "
        "{steps[cifar]:.1f} MB with images of CIFAR-10, {steps[resnet50]:.1f} MB for "
        "ResNet-50 at 224x224 and {steps[deep]:.1f} MB for ResNet-110",
    ),
    (LENS, "{steps[resnet18_bytes]:.0f} MiB for ResNet-18 on one image of 224x224"),
    (LENS, "in a fresh one {published_looks[dead_fresh]:.0f} ("),
]

# Tables of docs/claims.md that hold what the script prints, line by line.
TABLES = ("vanishing", "at-least-one", "averaged", "paths")


def groups(template: str) -> list[str]:
    """List the groups whose figures a template has."""
    return re.findall(r"\{(\w+)\[", template)


def figures(kept: Any) -> Any:
    """Turn the numbers of docs/figures.json into figures as pages write them."""
    if isinstance(kept, dict):
        return {name: figures(value) for name, value in kept.items()}
    if isinstance(kept, list):
        return [figures(value) for value in kept]
    return Figure(kept) if isinstance(kept, int | float) else kept


def missing(kept: dict[str, Any], root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield every page that does not say what was measured, with what it should say."""
    known = figures(kept)
    for page, template in SENTENCES:
        if not set(groups(template)) <= known.keys():
            continue
        sentence = " ".join(template.format_map(known).split())
        text = (root / page).read_text(encoding="utf-8")
        if sentence not in re.sub(r"\s+", " ", text):
            yield page, sentence
    lines = (root / CLAIMS).read_text(encoding="utf-8").splitlines()
    for name in TABLES if "claims" in kept else ():
        for row in kept["claims"][name]:
            line = f"| {' | '.join(row)} |"
            if line not in lines:
                yield CLAIMS, line
