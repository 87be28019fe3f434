"""Schedules are pure functions of the step and equal torch's where they say so."""

import math

import pytest

from npresnet.optim import Constant, Cosine, OneCycle, StepDecay


def torch_rates(make_scheduler, lr, steps):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.torch
@pytest.mark.parametrize("total_steps", [10, 37, 100])
@pytest.mark.parametrize("peak_at", [0.2, 0.3, 0.55])
def test_one_cycle_equals_torch_linear_one_cycle(total_steps, peak_at):
    ours = OneCycle(0.4, total_steps, peak_at=peak_at, start_lr=0.02, final_lr=0.001)
    theirs = torch_rates(
        lambda module, optimizer: module.OneCycleLR(
            optimizer,
            max_lr=0.4,
            total_steps=total_steps,
            pct_start=peak_at,
            anneal_strategy="linear",
            div_factor=0.4 / 0.02,
            final_div_factor=0.02 / 0.001,
            cycle_momentum=False,
        ),
        0.4,
        total_steps - 1,
    )
    assert [ours(step) for step in range(total_steps - 1)] == pytest.approx(theirs)
    assert ours(total_steps - 1) == pytest.approx(0.001)


@pytest.mark.torch
def test_cosine_equals_torch_cosine_annealing():
    ours = Cosine(0.1, 50, final_lr=0.01)
    theirs = torch_rates(
        lambda module, optimizer: module.CosineAnnealingLR(optimizer, 50, 0.01), 0.1, 50
    )
    assert [ours(step) for step in range(50)] == pytest.approx(theirs, rel=1e-9)


@pytest.mark.torch
def test_step_decay_equals_torch_multi_step():
    ours = StepDecay(0.1, (3, 7), gamma=0.2)
    theirs = torch_rates(
        lambda module, optimizer: module.MultiStepLR(optimizer, [3, 7], 0.2), 0.1, 12
    )
    assert [ours(step) for step in range(12)] == pytest.approx(theirs)


@pytest.mark.torch
@pytest.mark.parametrize(
    "schedule",
    [
        Constant(0.1),
        StepDecay(0.1, (2, 4)),
        Cosine(0.1, 9, warmup_steps=3),
        OneCycle(0.1, 9),
    ],
    ids=lambda s: type(s).__name__,
)
def test_schedules_drive_torch_lambda_lr_to_the_same_rates(schedule):
    theirs = torch_rates(
        lambda module, optimizer: module.LambdaLR(optimizer, schedule), 1.0, 9
    )
    assert [schedule(step) for step in range(9)] == pytest.approx(theirs)


def test_warm_up_rises_in_a_straight_line_and_never_reaches_zero():
    schedule = Cosine(0.5, 20, warmup_steps=4)
    rates = [schedule(step) for step in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert schedule(20) == pytest.approx(0.0)
    assert schedule(25) == pytest.approx(0.0)


@pytest.mark.parametrize("total_steps", [2, 3, 4, 5])
def test_one_cycle_of_few_steps_stays_between_its_bounds(total_steps):
    schedule = OneCycle(0.4, total_steps, peak_at=0.3, final_lr=0.01)
    rates = [schedule(step) for step in range(total_steps + 2)]
    assert all(0.01 <= rate <= 0.4 and math.isfinite(rate) for rate in rates)
    assert rates[total_steps - 1] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StepDecay(0.1, (5, 3)), "milestones"),
        (lambda: Cosine(0.1, 5, warmup_steps=5), "warmup_steps"),
        (lambda: Cosine(0.1, 0), "total_steps"),
        (lambda: OneCycle(0.1, 1), "total_steps"),
        (lambda: OneCycle(0.1, 10, peak_at=1.0), "peak_at"),
    ],
)
def test_impossible_schedules_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
