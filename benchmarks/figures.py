"""The figures of the pages about the lens: measured, kept, and compared with the pages.

    python -m benchmarks.figures --data-dir DIR --weights FILE            # all of them
    python -m benchmarks.figures --data-dir DIR --weights FILE --only river spectrum
    python -m benchmarks.figures --compare                                # only compare

Every group gives the commands of a page, and keeps what came out in docs/figures.json.
`SENTENCES` are the places where the pages say so; a test fails where a page says
anything else. DIR holds CIFAR-10, FILE is the published ResNet-20 of the README. Runs
are trained into --runs, and are not trained again where they are there already.

All groups take some half an hour on two cores. Figures are of the same kind of
processor: others round differently, and trained networks are then others, too.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from benchmarks.sentences import ROOT, missing
from npresnet.cli import main as npresnet
from npresnet.training.metrics import read_metrics

KEPT = ROOT / "docs" / "figures.json"
_PUBLISHED = (
    "--model resnet20 --shortcut A --dataset cifar10 --normalization imagenet".split()
)


class Settings:
    """Where data, weights and runs are."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.data = ["--dataset", "cifar10", "--data-dir", str(options.data_dir)]
        self.published = [str(options.weights), *_PUBLISHED]
        self.published += ["--data-dir", str(options.data_dir)]
        self.runs = Path(options.runs)

    def trained(self, name: str, *words: str) -> str:
        """Train a network, unless that is done already; return its run folder."""
        folder = self.runs / name
        if not (folder / "report.html").exists():
            done = (folder / "config.json").exists()
            where = ["--resume", str(folder)] if done else [*words, "--out", folder]
            ask("train", *map(str, where), "--quiet")
        return str(folder)


def ask(*words: str) -> Any:
    """Give a command; return its answer."""
    result = CliRunner().invoke(npresnet, [*words, "--json"])
    if result.exit_code:
        raise ValueError(f"npresnet {' '.join(words)}: {result.stderr.strip()}")
    return json.loads(result.stdout.splitlines()[-1])


def lens(*words: str) -> list[Any]:
    """Give an instrument's command; return an answer for each network."""
    answer = ask("lens", *words)
    return answer.get("results", [answer])


# ------------------------------------------------------------------------- groups


def river(settings: Settings) -> dict[str, Any]:
    """Measure the gradient through fresh networks."""
    answers = lens("ledger", *"resnet20 plain20 resnet56 plain56".split())
    small = lens("ledger", "resnet20", "plain20", *settings.data)
    large = lens("ledger", "resnet56", "plain56", *settings.data)
    figures = {}
    for name, answer in zip(
        ("residual20", "plain20", "residual56", "plain56"), small + large, strict=True
    ):
        rows = answer["rows"]
        stopped = [row["stopped_share"] for row in rows]
        figures[name] = {
            "growth": rows[0]["grad_input_norm"] / rows[-1]["grad_output_norm"],
            "stopped_low": min(stopped),
            "stopped_high": max(stopped),
        }
    growths = [
        (row["grad_input_norm"] / row["grad_output_norm"], row["name"])
        for row in answers[2]["rows"]
    ]
    figures["digits56"] = {
        f"least{place}": {"growth": growth, "block": block}
        for place, (growth, block) in enumerate(sorted(growths)[:3])
    }
    return figures


def spectrum(settings: Settings) -> dict[str, Any]:
    """Measure which paths the gradient takes."""
    figures = {}
    for depth in (56, 110):
        (answer,) = lens("spectrum", f"resnet{depth}", *settings.data)
        shares = [row["share"] for row in answer["rows"]]
        paths = [row["paths"] for row in answer["rows"]]
        figures[f"fresh{depth}"] = {
            "mean": answer["mean_branches"],
            "of_paths": answer["mean_branches_of_paths"],
            "share_5_to_17": sum(shares[5:18]),
            "paths_5_to_17": sum(paths[5:18]) / sum(paths),
        }
    (answer,) = lens("spectrum", *settings.published, "--mode", "eval")
    figures["published"] = {
        "mean": answer["mean_branches"],
        "of_paths": answer["mean_branches_of_paths"],
    }
    return figures


def long_trained(settings: Settings) -> dict[str, Any]:
    """Train 56 layers for 60 epochs, and see which paths the gradient takes then."""
    trained = _sixty_epochs(settings, "resnet56", "0.01")
    fresh, after = lens("spectrum", "resnet56", trained)
    return {"before": fresh["mean_branches"], "after": after["mean_branches"]}


def landscape(settings: Settings) -> dict[str, Any]:
    """Measure the loss around trained networks of 56 and 32 layers."""
    names = ("resnet56", "plain56")
    trained = [_sixty_epochs(settings, name, "0.01") for name in names]
    figures: dict[str, Any] = {}
    for name, folder, answer in zip(
        names, trained, lens("landscape", *trained, "--points", "41"), strict=True
    ):
        losses = [row["loss"] for row in answer["rows"]]
        finite = [loss for loss in losses if loss is not None]
        figures[name] = {
            "right": _right(folder),
            "valley": answer["valley"],
            "minima": answer["minima"],
            "center": answer["center_loss"],
            "highest": max(finite),
            "fall": math.log(10) / answer["center_loss"],
        }
    both = lens("landscape", *trained, "--mode", "train")
    for name, answer in zip(names, both, strict=True):
        figures[f"{name}_batch"] = {
            "highest": max(row["loss"] for row in answer["rows"]),
            "minima": answer["minima"],
        }
    for name in ("resnet32", "plain32"):
        figures[name] = {"right": _right(_sixty_epochs(settings, name, "0.03"))}
    return figures


def landscape_published(settings: Settings) -> dict[str, Any]:
    """Measure the loss around the published weights."""
    (answer,) = lens("landscape", *settings.published)
    return {
        "center": answer["center_loss"],
        "valley": answer["valley"],
        "minima": answer["minima"],
    }


def shattered(settings: Settings) -> dict[str, Any]:
    """Measure how alike the gradients at neighbouring images are."""
    del settings
    depths = (8, 14, 20, 32, 56, 110)
    figures: dict[str, Any] = {}
    for kind in ("resnet", "plain"):
        answers = lens("shattered", *(f"{kind}{depth}" for depth in depths))
        for depth, answer in zip(depths, answers, strict=True):
            figures[f"{kind}{depth}"] = answer["neighbours"]
    figures["white"] = answers[0]["rows"][1]["white"]
    figures["brownian"] = answers[0]["rows"][1]["brownian"]
    four = [
        lens("shattered", "resnet56", "plain56", "--seed", str(seed))
        for seed in (1, 2, 3, 4)
    ]
    for kind, answers in zip(("resnet", "plain"), zip(*four, strict=True), strict=True):
        found = [answer["neighbours"] for answer in answers]
        figures[f"{kind}56_low"], figures[f"{kind}56_high"] = min(found), max(found)
    names = "resnet56 plain56 resnet110 plain110".split()
    for name, answer in zip(
        names, lens("shattered", *names, "--mode", "eval"), strict=True
    ):
        figures[f"{name}_eval"] = answer["neighbours"]
    return figures


def steps(settings: Settings) -> dict[str, Any]:
    """Write the stepper's pages, and weigh them."""
    import npresnet as nr

    figures: dict[str, Any] = {}
    for name, words in {
        "digits": ["resnet20"],
        "cifar": ["resnet20", *settings.data],
        "deep": ["resnet110", *settings.data],
    }.items():
        folder = settings.runs / f"steps-{name}"
        ask("lens", "steps", *words, "--out", str(folder), "--force")
        (page,) = folder.glob("*.html")
        figures[name] = page.stat().st_size / 1e6
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    y = np.array([0])
    recorded = nr.lens.steps(nr.models.resnet50(), x, y)
    figures["resnet50"] = len(recorded.html().encode()) / 1e6
    figures["resnet18_bytes"] = nr.lens.steps(nr.models.resnet18(), x, y).nbytes / 2**20
    return figures


def digits(settings: Settings) -> dict[str, Any]:
    """Train ResNet-8 on the digits, and see where it looked at its mistakes."""
    import npresnet as nr

    folder = settings.trained("digits")
    _, test = nr.data.digits()
    answer = ask(
        *("lens", "grad-cam", folder, "--layer", "layer2"),
        *(word for i in range(len(test)) for word in ("--index", str(i))),
    )
    rows = [
        {
            "label": test.classes[test.labels[row["image"]]],
            "predicted": row["predicted"],
            "probability": row["probability"],
        }
        for row in answer["rows"]
    ]
    wrong = [i for i, row in enumerate(rows) if row["label"] != row["predicted"]]
    return {
        "right": _right(folder),
        "mistakes": len(wrong),
        "wrong": wrong,
        # The lower row of the picture.
        **{f"image{i}": rows[i] for i in (26, 83, 138, 322)},
    }


def published_looks(settings: Settings) -> dict[str, Any]:
    """Look into the published weights: saliency's signs, and dead channels."""
    shares = []
    answer = ask("lens", "saliency", *settings.published, "--images", "64")
    gradients = np.array(answer["gradients"])
    for one, other in (
        (gradients[..., 1:, :], gradients[..., :-1, :]),
        (gradients[..., 1:], gradients[..., :-1]),
    ):
        shares.append(float((one * other < 0).mean()))
    trained = ask("lens", "activations", *settings.published)
    fresh = ask("lens", "activations", "resnet20", *settings.data)
    return {
        "opposite_low": min(shares),
        "opposite_high": max(shares),
        "dead": trained["dead_channels"],
        "channels": trained["rectified_channels"],
        "dead_fresh": fresh["dead_channels"],
    }


def degradation(settings: Settings) -> dict[str, Any]:
    """Train plain and residual networks of four depths with three seeds."""
    folder = settings.runs / "degradation"
    answer = ask("lens", "degradation", "--seeds", "3", "--out", str(folder))
    figures: dict[str, Any] = {}
    for kind in ("plain", "resnet"):
        for depth in (8, 20, 32, 56):
            rows = [
                row
                for row in answer["rows"]
                if row["depth"] == depth and row["kind"].startswith(kind[:5])
            ]
            losses = [row["train_loss"] for row in rows]
            figures[f"{kind}{depth}"] = {
                "loss": sum(losses) / len(losses),
                "low": min(losses),
                "high": max(losses),
                "error": sum(row["test_error"] for row in rows) / len(rows),
            }
    return figures


def lesions(settings: Settings) -> dict[str, Any]:
    """Delete blocks of networks that were trained for eight epochs, and for fifty."""
    runs = settings.runs / "degradation"
    figures: dict[str, Any] = {}
    trained = [str(runs / f"{kind}20-seed0") for kind in ("resnet", "plain")]
    for kind, answer in zip(
        ("residual", "plain"), lens("lesion", *trained), strict=True
    ):
        accuracies = [row["accuracy"] for row in answer["rows"]]
        swaps = [row["accuracy"] for row in answer["swaps"]]
        (three,) = (row for row in answer["removals"] if row["removed"] == 3)
        figures[kind] = {
            "whole": answer["accuracy"],
            "low": min(accuracies),
            "high": max(accuracies),
            "swap_low": min(swaps),
            "swap_high": max(swaps),
            "three": three["accuracy"],
            "three_low": three["accuracy_low"],
            "three_high": three["accuracy_high"],
            "chance": answer["chance"],
        }
    fifty = [_fifty_epochs(settings, name) for name in ("resnet20", "plain20")]
    for kind, answer in zip(("residual", "plain"), lens("lesion", *fifty), strict=True):
        kept = [row["accuracy"] for row in answer["rows"] if row["stays"] == "identity"]
        figures[f"{kind}50"] = {"low": min(kept), "high": max(kept)}
    return figures


def lesions_published(settings: Settings) -> dict[str, Any]:
    """Delete blocks of the published weights."""
    everything = ["--images", "10000", "--draws", "0"]
    (answer,) = lens("lesion", *settings.published, *everything)
    (few,) = lens("lesion", *settings.published)
    swaps = {"/".join(row["swapped"]): row["accuracy"] for row in few["swaps"]}
    far = swaps.pop("layer1.0/layer1.2")
    return {
        "accuracy": answer["accuracy"],
        "loss": answer["loss"],
        "rows": {
            row["name"].replace(".", "_"): [row["accuracy"], row["loss"]]
            for row in answer["rows"]
        },
        "removed": {
            f"n{row['removed']}": row["accuracy"] for row in few["removals"][:4]
        },
        "chance": few["chance"],
        "swap_low": min(swaps.values()),
        "swap_high": max(swaps.values()),
        "swap_far": far,
    }


def responses(settings: Settings) -> dict[str, Any]:
    """Measure the responses of networks that were trained for fifty epochs."""
    fifty = [_fifty_epochs(settings, name) for name in ("resnet20", "plain20")]
    figures: dict[str, Any] = {}
    for kind, answer in zip(
        ("residual", "plain"), lens("responses", *fifty), strict=True
    ):
        figures[kind] = float(np.mean([row["deviation"] for row in answer["rows"]]))
    (answer,) = lens("responses", *settings.published, "--images", "10000")
    deviations = [row["deviation"] for row in answer["rows"]]
    figures["published"] = float(np.mean(deviations))
    figures["published_last"] = deviations[-1]
    return figures


def readme(settings: Settings) -> dict[str, Any]:
    """Train the digits with ten seeds."""
    right = [
        _right(settings.trained(f"digits-{seed}", "--seed", str(seed)))
        for seed in range(10)
    ]
    return {"first": right[0], "low": min(right), "high": max(right)}


def claims(settings: Settings) -> dict[str, Any]:
    """Make the tables of docs/claims.md; rows as they stand there."""
    from benchmarks import claims as script

    options = argparse.Namespace(
        images=8,
        depths=[20, 56, 110],
        seeds=1,
        weights=settings.published[0],
        data_dir=settings.data[-1],
    )
    kept = {}
    for name, claim in script.CLAIMS.items():
        options.images = 32 if name == "paths" else 8
        kept[name] = [
            [str(cell) for cell in row] for row in claim(script.Settings(options))
        ]
    return kept


GROUPS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    group.__name__: group
    for group in (
        *(digits, readme, river, spectrum, published_looks, steps, claims),
        *(degradation, lesions, lesions_published, responses, long_trained, shattered),
        *(landscape_published, landscape),
    )
}


def _sixty_epochs(settings: Settings, name: str, lr: str) -> str:
    words = ("--model", name, "--epochs", "60", "--set", f"lr={lr}")
    return settings.trained(name, *words)


def _fifty_epochs(settings: Settings, name: str) -> str:
    return settings.trained(f"{name}-50", "--model", name, "--epochs", "50")


def _right(folder: str) -> int:
    """Return how many of the 360 test images a run on the digits got right."""
    last = read_metrics(Path(folder) / "metrics.csv")[-1]
    assert last["test_accuracy"] is not None
    return round(360 * last["test_accuracy"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--runs", default="runs/figures", metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), metavar="GROUP")
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args(arguments)

    if not options.compare:
        if options.data_dir is None or options.weights is None:
            parser.error("expected --data-dir and --weights, or --compare")
        settings = Settings(options)
        for name in options.only or GROUPS:
            measured = GROUPS[name](settings)
            kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
            kept[name] = measured
            text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
            KEPT.write_text(text, encoding="utf-8")
            print(f"{name}: {json.dumps(kept[name])}", flush=True)
    wrong = list(missing(json.loads(KEPT.read_text(encoding="utf-8"))))
    for page, sentence in wrong:
        print(f"{page} should say: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
