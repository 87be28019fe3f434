"""Comparisons are counted once, in however many processes they are made."""

import json

from tests.oracle.compare import Tally

COMPARISONS = [
    ("float64", "1e-10", 0.5, 5e-11, "out"),
    ("float64", "1e-10", 0.25, 2.5e-11, "grad_x"),
    ("float32", "4", 0.75, 3.0, "out"),
    ("float32", "4", float("nan"), float("nan"), "grad_x"),
    ("exact", "0", 0.0, 0.0, "count"),
]


def counted(comparisons):
    tally = Tally()
    tally.test = "a test"
    for comparison in comparisons:
        tally.add(*comparison)
    return tally


def test_tallies_of_several_processes_add_up():
    whole = counted(COMPARISONS)
    for cut in range(len(COMPARISONS) + 1):
        gathered = Tally()
        for part in (COMPARISONS[:cut], COMPARISONS[cut:]):
            gathered.merge(*counted(part).counted())
        assert gathered.total == whole.total == 5
        assert gathered.beyond == whole.beyond == 1
        assert str(list(gathered.lines())) == str(list(whole.lines()))


def test_a_tally_is_plain_values_for_another_process():
    assert json.dumps(counted(COMPARISONS).counted())
