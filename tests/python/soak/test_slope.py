"""The statistics of the memory leg, on samples of which the answer is known."""

import random

import pytest

from soak.slope import Slope, quantile, slope


def noise(dice: random.Random, count: int, memory: float) -> list[float]:
    """Gives noise of which so much of each sample stays in the next one."""
    values, value = [], 0.0
    for _ in range(count):
        value = memory * value + dice.gauss(0, 1)
        values.append(value)
    return values


def hits(memory: float, true: float, trials: int = 300) -> float:
    """Returns how often the interval holds the true slope."""
    dice = random.Random(1)
    found = 0
    for _ in range(trials):
        values = [true * time + noisy for time, noisy in enumerate(noise(dice, 300, memory))]
        fitted = slope(range(300), values)
        assert fitted is not None
        found += fitted.low <= true <= fitted.high
    return found / trials


def test_a_line_has_its_slope_and_no_doubt() -> None:
    fitted = slope([float(time) for time in range(20)], [5 + 3.0 * time for time in range(20)])
    assert fitted is not None
    assert fitted.value == pytest.approx(3)
    assert fitted.high - fitted.low < 1e-9


def test_a_known_example_agrees_with_what_is_printed_for_it() -> None:
    # Anscombe's first set: slope 0.5001, standard error 0.1179, t(9) = 2.2622.
    x = [10.0, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    fitted = slope(x, y)
    assert fitted is not None
    assert fitted.value == pytest.approx(0.5001, abs=1e-4)
    assert fitted.high - fitted.value == pytest.approx(2.2622 * 0.1179, rel=0.01)


@pytest.mark.parametrize(("freedom", "printed"), [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980), (1e9, 1.960)])
def test_quantiles_are_those_of_the_tables(freedom: float, printed: float) -> None:
    assert quantile(freedom) == pytest.approx(printed, rel=0.01)
    assert quantile(1.0) > quantile(2.9) / 1.01 > quantile(3.0)


@pytest.mark.parametrize("true", [0.0, 0.01, -0.05])
def test_the_interval_holds_the_true_slope_as_often_as_it_says(true: float) -> None:
    assert 0.90 <= hits(0.0, true) <= 0.99


def test_samples_that_depend_on_one_another_make_it_wider() -> None:
    assert hits(0.9, 0.01) >= 0.85
    dice = random.Random(2)
    lone, tied = slope(range(300), noise(dice, 300, 0.0)), slope(range(300), noise(dice, 300, 0.9))
    assert lone is not None
    assert tied is not None
    assert tied.high - tied.low > 5 * (lone.high - lone.low)


def test_growth_in_noise_is_found() -> None:
    fitted = slope(range(1_000), [0.01 * time + noisy for time, noisy in enumerate(noise(random.Random(3), 1_000, 0.5))])
    assert fitted is not None
    assert fitted.low > 0


def test_too_little_says_nothing_and_nonsense_is_an_error() -> None:
    assert slope(range(9), range(9)) is None
    with pytest.raises(ValueError, match="10 times and 9 values"):
        slope(range(10), range(9))
    with pytest.raises(ValueError, match="one moment"):
        slope([1.0] * 10, range(10))


def test_a_slope_can_be_told_in_other_units() -> None:
    assert Slope(2.0, 1.0, 3.0) * 60 == Slope(120.0, 60.0, 180.0)
