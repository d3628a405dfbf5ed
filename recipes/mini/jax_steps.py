"""Steps of a training on JAX: several are one compiled program, and wait for nobody.

Their samples come from a pool on the device (`pool`), and what is random about a sample (noise,
timesteps) is drawn there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

if TYPE_CHECKING:
    from recipes.mini.training import Trainer

Tensor = Any


class Random:
    """Draws random numbers, others at every call."""

    def __init__(self, seed: Tensor) -> None:
        self.key = jax.random.key(seed) if isinstance(seed, int) else seed

    def split(self) -> Tensor:
        self.key, key = jax.random.split(self.key)
        return key

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return jax.random.normal(self.split(), shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """From 0 up to 1."""
        return jax.random.uniform(self.split(), shape)

    def integers(self, count: Tensor, shape: tuple[int, ...]) -> Tensor:
        """From 0 up to ``count``."""
        return jax.random.randint(self.split(), shape, 0, count)


def precision(dtype: str) -> str:
    """The precision of a training whose configuration says ``dtype``."""
    return dtype


def tensor(array: np.ndarray) -> Tensor:
    """A copy on the device."""
    return jnp.array(array)


@partial(jax.jit, donate_argnums=0)
def insert(arrays: tuple[Tensor, ...], batch: tuple[Tensor, ...], place: Tensor) -> tuple:
    """Put a batch into the arrays of a pool, whose memory goes to the result."""
    into = partial(jax.lax.dynamic_update_slice_in_dim, start_index=place, axis=0)
    return tuple(into(a, part) for a, part in zip(arrays, batch, strict=True))


def inferring(network: Callable) -> Callable:
    """The network's function, without gradients."""
    return jax.jit(network)


def joined(arrays: Iterable[Tensor]) -> Tensor:
    """Arrays of any shapes as one vector, float32."""
    return jnp.concatenate([array.ravel().astype("float32") for array in arrays])


def compiled(trainer: Trainer, samples: tuple) -> Callable[[tuple], dict[str, Tensor]]:
    """The program that makes ``chunk`` steps with the samples of a pool and returns the means of
    what the loss reports; the values live on the device between its calls."""
    t, fixed = trainer.training, trainer.fixed
    variables, optimizer = list(trainer.variables.values()), trainer.optimizer
    state = optimizer.variables

    def objective(values: list, frozen: list, batch: tuple) -> tuple:
        pairs = [*zip(variables, values, strict=True), *zip(fixed, frozen, strict=True)]
        with keras.StatelessScope(state_mapping=pairs):
            return trainer.loss(*batch)

    def update(frozen: list, pool: tuple, filled: Tensor, carry: tuple, key: Tensor) -> tuple:
        vector, inner, average, step = carry
        random = Random(key)
        chosen = random.integers(filled, (t.batch,))
        batch = trainer.draw(random, *(part[chosen] for part in pool))
        gradient = jax.value_and_grad(objective, has_aux=True)
        (_, report), gradients = gradient(trainer.parts(vector, jnp.split), frozen, batch)
        (vector,), inner = optimizer.stateless_apply(inner, [joined(gradients)], [vector])
        memory = jnp.minimum(t.ema, (1 + step) / (10 + step))
        return (vector, inner, average + (1 - memory) * (vector - average), step + 1), report

    @partial(jax.jit, donate_argnums=0)
    def program(carry: tuple, frozen: list, pool: tuple, filled: Tensor, key: Tensor) -> tuple:
        steps = partial(update, frozen, pool, filled)
        carry, reports = jax.lax.scan(steps, carry, jax.random.split(key, t.chunk))
        return carry, {name: values.mean() for name, values in reports.items()}

    def given(samples: tuple) -> tuple:
        optimizer.learning_rate.assign(trainer.rate)
        step, filled = jnp.int32(trainer.step), jnp.int32(samples[1])
        carry = (trainer.values, [v.value for v in state], trainer.average, step)
        frozen = [v.value for v in fixed]
        return carry, frozen, samples[0], filled, jax.random.key(trainer.step)

    executable = program.lower(*given(samples)).compile()

    def run(samples: tuple) -> dict[str, Tensor]:
        carry, report = executable(*given(samples))
        trainer.values, inner, trainer.average, _ = carry
        for variable, value in zip(state, inner, strict=True):
            variable._value = value  # the old one was donated
        return report

    return run
