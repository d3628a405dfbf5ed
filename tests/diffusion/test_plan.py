"""Plans: tables of matrices that do exactly what the samplers' step functions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.diffusion import (
    PREDICTIONS,
    REGISTERS,
    SAMPLERS,
    SCHEDULES,
    Plan,
    Sampler,
    Step,
    make_plan,
    plan,
    run,
    sample,
    scalings,
    sigma_to_timestep,
    training_sigmas,
)

TRAINING = training_sigmas()
ZERO_SNR = training_sigmas(zero_terminal_snr=True)
SHAPE = (2, 3, 4)
TWICE = ("heun", "dpm2", "dpm2_a", "dpmpp_sde", "dpmpp_2s_a")
RANDOM = ("euler_a", "ddpm", "dpm2_a", "dpmpp_sde", "dpmpp_2s_a", "dpmpp_2m_sde",
          "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "lcm", "tcd")  # fmt: skip


def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
    return 0.8 * np.tanh(x / np.hypot(sigma, 1.0).astype(x.dtype)) + x.dtype.type(0.1)


def noises(seed: int = 3) -> Callable[[], np.ndarray]:
    generator = np.random.default_rng(seed)
    return lambda: generator.normal(size=SHAPE)


def start(made: Plan) -> np.ndarray:
    return np.random.default_rng(8).normal(size=SHAPE) * made.start_scale


def option_sets(name: str) -> list[dict[str, Any]]:
    """The defaults and the extremes of every option."""
    values = {"eta": (0.0, 0.5, 1.0), "order": (1, 2, 3, 4)}
    return [{}, *({key: value} for key in SAMPLERS[name].options for value in values[key])]


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(SAMPLERS)),
    schedule=st.sampled_from([*sorted(SCHEDULES), None]),
    n=st.integers(1, 50),
    strength=st.floats(0.02, 1.0),
    zero_snr=st.booleans(),
    which=st.integers(0, 9),
)
def test_plans_do_what_the_step_functions_do(
    name: str, schedule: str | None, n: int, strength: float, zero_snr: bool, which: int
) -> None:
    training = ZERO_SNR if zero_snr else TRAINING
    options = option_sets(name)[which % len(option_sets(name))]
    strength = max(strength, 1.0 / n)
    made = make_plan(training, n, name, schedule, strength=strength, **options)
    planned: list[np.ndarray] = []
    direct: list[np.ndarray] = []
    x = start(made)
    run(made, denoise, x, noises(), lambda _, x: planned.append(x))
    sample(
        name, made.sigmas, denoise, x, noises(), training, lambda _, x: direct.append(x), **options
    )
    assert len(planned) == len(direct) == made.steps
    for i, (one, other) in enumerate(zip(planned, direct, strict=True)):
        assert np.abs(one - other).max() <= 1e-10 * (made.sigmas[i] + 1.0)


@pytest.mark.parametrize("training", [TRAINING, ZERO_SNR], ids=["sd", "zero_terminal_snr"])
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_plans_survive_float32(name: str, training: np.ndarray) -> None:
    for n in (1, 2, 4, 25):
        made = make_plan(training, n, name)
        assert np.isfinite(made.matrix).all()
        # An entry is a factor of order 1, or turns eps into x (order sigma), or x into eps.
        largest = 2.5 * made.sigmas[0] + 1.0 / made.sigmas[-2]
        assert n < 4 or np.abs(made.matrix).max() <= largest
        draws, again = noises(), noises()
        exact = run(made, denoise, start(made), draws)
        single = run(
            made,
            denoise,
            start(made).astype(np.float32),
            lambda again=again: again().astype(np.float32),
        )
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, exact, rtol=0, atol=2e-3 if n < 25 else 1e-4)


def test_shapes_and_types() -> None:
    made = make_plan(TRAINING, 10, "heun")
    questions = len(made.sigma)
    assert made.steps == 10
    assert made.matrix.shape == (questions, REGISTERS, REGISTERS + 2)
    assert made.matrix.dtype == made.sigma.dtype == made.timestep.dtype == np.float64
    assert made.needs_noise.shape == made.draw.shape == made.step.shape == (questions,)
    assert made.needs_noise.dtype == np.bool_
    assert np.issubdtype(made.draw.dtype, np.integer)
    assert np.issubdtype(made.step.dtype, np.integer)
    assert made.ends_step.sum() == 10


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_questions_per_step(name: str) -> None:
    made = make_plan(TRAINING, 9, name)
    asked = np.bincount(made.step)
    expected = [1] * 9
    if name in TWICE:
        expected = [2] * 8 + [1]
    if name == "plms":
        expected = [2] + [1] * 8
    assert asked.tolist() == expected
    first = np.flatnonzero(np.diff(made.step, prepend=-1))
    np.testing.assert_array_equal(made.sigma[first], made.sigmas[:-1])


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_noise_is_asked_for_where_it_counts(name: str) -> None:
    made = make_plan(TRAINING, 9, name)
    np.testing.assert_array_equal(made.needs_noise, made.matrix[:, :, -1].any(axis=1))
    assert made.needs_noise.any() == (name in RANDOM)
    drawn = made.draw[made.needs_noise]
    np.testing.assert_array_equal(drawn, np.arange(1, len(drawn) + 1))
    assert not made.draw[~made.needs_noise].any()


def test_plans_are_the_same_used_and_fresh() -> None:
    fresh = {name: make_plan(TRAINING, 12, name).matrix.tobytes() for name in SAMPLERS}
    for name in SAMPLERS:
        made = make_plan(TRAINING, 12, name)
        first = run(made, denoise, start(made), noises())
        make_plan(TRAINING, 30, name)
        again = run(made, denoise, start(made), noises())
        assert first.tobytes() == again.tobytes()
        assert made.matrix.tobytes() == fresh[name]
        assert make_plan(TRAINING, 12, name).matrix.tobytes() == fresh[name]


def test_only_the_table_tells_samplers_apart() -> None:
    """A step compiled once for any table is enough: one matrix product and one question."""

    def compiled(registers: np.ndarray, j: int, made: Plan, noise: np.ndarray) -> np.ndarray:
        answer = denoise(registers[0], float(made.sigma[j]))
        return np.tensordot(made.matrix[j], np.stack([*registers, answer, noise]), axes=1)

    for name in SAMPLERS:
        made, draws, same = make_plan(TRAINING, 7, name), noises(), noises()
        registers = np.zeros((REGISTERS, *SHAPE))
        registers[0] = start(made)
        for j in range(len(made.sigma)):
            drawn = draws() if made.needs_noise[j] else np.full(SHAPE, 1e30)
            registers = compiled(registers, j, made, drawn)
        expected = run(made, denoise, start(made), same)
        np.testing.assert_allclose(registers[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 25, 700, 1000])
def test_the_table_has_one_shape_for_ordinary_runs(steps: int) -> None:
    table = make_plan(TRAINING, steps, "heun", "uniform").table("epsilon")
    assert table.shape == (1024 if steps < 513 else 2048, 4 + 6 * 8)
    assert table.dtype == np.float32
    assert np.isfinite(table).all()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_table_says_what_the_plan_says(prediction: str) -> None:
    made = make_plan(TRAINING, 6, "dpmpp_sde")
    E = len(made.sigma)
    table = made.table(prediction)
    expected = np.stack([*scalings(prediction, made.sigma), made.timestep], axis=1)
    np.testing.assert_array_equal(table[:E, :4], expected.astype("float32"))
    matrices = table[:E, 4:].reshape(E, REGISTERS, REGISTERS + 2)
    np.testing.assert_array_equal(matrices, made.matrix.astype("float32"))
    assert not table[E:].any()


# --- timesteps ---------------------------------------------------------------------------------


def test_schedules_made_of_timesteps_keep_them_exactly() -> None:
    made = make_plan(TRAINING, 20, "ddim", "leading")
    np.testing.assert_array_equal(made.timestep, np.arange(951, 0, -50))
    made = make_plan(TRAINING, 4, "euler", "trailing")
    np.testing.assert_array_equal(made.timestep, [999, 749, 499, 249])
    made = make_plan(TRAINING, 3, "euler", "uniform")
    np.testing.assert_array_equal(made.timestep, [999, 499.5, 0])


def test_timesteps_of_sigmas_are_whole_if_the_sampler_says_so() -> None:
    fractions = make_plan(TRAINING, 10, "euler", "karras")
    whole = make_plan(TRAINING, 10, "dpmpp_2m", "karras")
    np.testing.assert_array_equal(fractions.sigma, whole.sigma)
    np.testing.assert_array_equal(fractions.timestep, sigma_to_timestep(TRAINING, fractions.sigma))
    np.testing.assert_array_equal(whole.timestep, np.round(fractions.timestep))


def test_timesteps_between_steps_are_interpolated() -> None:
    made = make_plan(TRAINING, 5, "dpm2", "karras")
    middle = np.sqrt(made.sigmas[0] * made.sigmas[1])
    assert made.sigma[1] == pytest.approx(middle)
    assert made.timestep[1] == pytest.approx(sigma_to_timestep(TRAINING, middle))
    assert made.timestep[2] == np.round(made.timestep[2])
    again = make_plan(TRAINING, 5, "heun", "trailing")
    np.testing.assert_array_equal(again.timestep[1::2], again.timestep[2::2])


def test_given_timesteps_are_used() -> None:
    made = plan("heun", [2.0, 1.0, 0.0], timesteps=[700.0, 333.25])
    assert made.timestep.tolist() == [700.0, 333.25, 333.25]


def test_plans_without_a_training_take_stable_diffusions() -> None:
    made = plan("dpmpp_2m", [TRAINING[999], TRAINING[10], 0.0])
    assert made.timestep.tolist() == [999.0, 10.0]


# --- where to start ----------------------------------------------------------------------------


def test_strength_makes_the_last_steps() -> None:
    whole = make_plan(TRAINING, 20, "dpmpp_2m")
    part = make_plan(TRAINING, 20, "dpmpp_2m", strength=0.4)
    assert part.steps == 8
    np.testing.assert_array_equal(part.sigmas, whole.sigmas[12:])
    np.testing.assert_array_equal(part.timestep, whole.timestep[12:])
    assert part.step.tolist() == list(range(8))
    # The first of them knows nothing earlier.
    assert not part.matrix[0, :, 1:REGISTERS].any()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_strength_is_a_plan_on_the_tail(name: str) -> None:
    whole = make_plan(TRAINING, 20, name)
    part = make_plan(TRAINING, 20, name, strength=0.35)
    tail = plan(name, whole.sigmas[13:], training=TRAINING)
    np.testing.assert_array_equal(part.matrix, tail.matrix)
    np.testing.assert_array_equal(part.sigma, tail.sigma)


def test_start_noise_is_scaled_as_the_reference_does() -> None:
    high = TRAINING[-1]
    assert make_plan(TRAINING, 5, "euler", "karras").start_scale == pytest.approx(high)
    unit = np.hypot(high, 1.0)
    assert make_plan(TRAINING, 5, "dpmpp_2m", "karras").start_scale == pytest.approx(unit)
    assert make_plan(TRAINING, 5, "euler", "leading").start_scale == np.hypot(TRAINING[801], 1.0)


def test_discarding_the_last_but_one_level() -> None:
    made = make_plan(TRAINING, 10, "dpm2", discard_penultimate=True)
    levels = SCHEDULES["karras"](TRAINING, 11)
    np.testing.assert_array_equal(made.sigmas, np.delete(levels, -2))
    assert made.steps == 10


def test_automatic_is_the_samplers_own_schedule() -> None:
    own = make_plan(TRAINING, 6, "dpmpp_2m_sde")
    for schedule in ("Automatic", "exponential", "Exponential"):
        same = make_plan(TRAINING, 6, "dpmpp_2m_sde", schedule)
        np.testing.assert_array_equal(own.sigmas, same.sigmas)


def test_schedule_options_arrive() -> None:
    made = make_plan(TRAINING, 10, "euler", "ays", schedule_options={"family": "sdxl"})
    assert made.sigmas[1] == pytest.approx(6.315)


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sigmas",
    [[1.0], [1.0, 1.0, 0.0], [1.0, 2.0], [1.0, -0.5], [[2.0, 1.0]], [np.nan, 0.0], [np.inf, 0.0]],
)
def test_levels_that_do_not_fall_are_refused(sigmas: Any) -> None:
    with pytest.raises(ValueError, match="`sigmas` must be at least two levels that fall strictly"):
        plan("euler", sigmas)


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.01])
def test_strengths_out_of_range_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=r"`strength` must be in \(0, 1\]"):
        make_plan(TRAINING, 10, strength=strength)


@pytest.mark.parametrize(("steps", "strength"), [(5, 0.1), (1, 0.9)])
def test_no_steps_are_refused(steps: int, strength: float) -> None:
    with pytest.raises(ValueError, match="`steps` times `strength` must be at least 1"):
        make_plan(TRAINING, steps, strength=strength)


@pytest.mark.parametrize("steps", [0, -1, 3.7, "20", None, True])
def test_steps_that_are_no_whole_number_are_refused(steps: Any) -> None:
    with pytest.raises(ValueError, match="`steps` must be a whole number from 1. Received: steps="):
        make_plan(TRAINING, steps)


def test_steps_and_options_of_any_type_are_whole_numbers() -> None:
    plain = make_plan(TRAINING, 20, "deis", order=3)
    for number in (np.uint8, np.float32, float):
        made = make_plan(TRAINING, number(20), "deis", order=number(3))
        assert made.matrix.tobytes() == plain.matrix.tobytes()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"options of sampler 'ddim' are \['eta'\].*\['churn'\]"):
        make_plan(TRAINING, 5, "ddim", churn=1.0)
    with pytest.raises(ValueError, match=r"options of sampler 'dpm2' are \[\]"):
        make_plan(TRAINING, 5, "dpm2", eta=1.0)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [("ddim", "eta", -0.1), ("ddim", "eta", 1.1), ("lms", "order", 0), ("unipc", "order", 2.5),
     ("deis", "order", 5)],
)  # fmt: skip
def test_options_out_of_range_are_refused(name: str, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"`{option}` must be from .* Received: {option}={value}"):
        make_plan(TRAINING, 5, name, **{option: value})


def test_missing_noise_is_reported() -> None:
    made = make_plan(TRAINING, 5, "euler_a")
    with pytest.raises(ValueError, match="`noise` must be given for 'euler_a'"):
        sample("euler_a", made.sigmas, denoise, start(made))
    with pytest.raises(ValueError, match="`noise` must be given for this plan"):
        run(made, denoise, start(made))


def with_function(function: Callable[..., Any]) -> Sampler:
    return Sampler("own", "Own", function)


def test_samplers_of_ones_own_can_be_planned() -> None:
    def memory(x: Any, step: Step, denoise: Any, noise: Any, old: tuple) -> tuple[Any, tuple]:
        return x - 0.5 * denoise(x, step.sigma), (x, *old)[:5]

    made = plan(with_function(memory), [3.0, 2.0, 1.0, 0.0])
    assert made.matrix.shape[0] == 3
    # Register 2 takes what register 1 had: the x before the last.
    assert made.matrix[2, 2].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def ask_five_times(x: Any, step: Step, denoise: Any, noise: Any, old: tuple) -> tuple[Any, tuple]:
    return sum((denoise(x, step.sigma) for _ in range(5)), start=x), ()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, s, d, n, old: (d(x, s.sigma), (x,) * 6), "must fit into 6 registers"),
        (lambda x, s, d, n, old: (d(2.0 * x, s.sigma), ()), "first ask about x at"),
        (lambda x, s, d, n, old: (d(x, s.next), ()), "first ask about x at the step's"),
        (lambda x, s, d, n, old: (d(x, s.sigma) + n() + n(), ()), "at most once after each"),
        (lambda x, s, d, n, old: (x + n() + d(x, s.sigma), ()), "once after each evaluation"),
        (ask_five_times, "asks more than 4 times in a step"),
    ],
)
def test_samplers_that_do_not_fit_are_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(with_function(function), [1.0, 0.5, 0.0])


def test_samplers_that_are_not_linear_are_refused() -> None:
    with pytest.raises(TypeError):
        plan(with_function(lambda x, s, d, n, old: (x * d(x, s.sigma), ())), [1.0, 0.0])
