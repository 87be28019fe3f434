"""What training costs beside the mathematics is measured as the page says."""

import re

import npresnet as nr
from benchmarks import overhead
from tests.docs.test_derivations import ROOT


def test_everything_that_the_page_names_is_measured(capsys):
    with nr.using_backend("reference"):
        overhead.main("--model resnet8 --images 40 --batch-size 8 --repeats 1".split())
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("resnet8, batches of 8 of 40 images, ")
    names = [re.split(r"  +", line)[0] for line in lines]
    assert names == [
        "training step",
        "batch, as they are",
        "batch, crop and flip",
        "batch, crop, flip and cutout",
        "looking for NaN and infinity",
        "checkpoint",
    ]
    page = (ROOT / "docs" / "what_a_run_survives.md").read_text(encoding="utf-8")
    assert "python -m benchmarks.overhead" in page
