"""The methods of the samplers: each is one step from noise level `step.sigma` to `step.next`.

    x, old = method(x, step, denoise, noise, old, **options)

`denoise(x, sigma)` asks the network for the clean data and may be called twice; the first time
always for `x` at `step.sigma`. `noise()` draws a standard normal of x's shape, at most once after
each answer. `old` is what the step before returned as its second result, `()` at first. Every step
is linear in x, old, the answers and the noise, and uses only + - * / between them and floats. So x
may be any kind of array, or a symbol (see plan.py).

Everything is in the variance-exploding convention `x = x0 + sigma * noise`, where the probability
flow ODE is `dx / dsigma = (x - D(x, sigma)) / sigma`. `(x - D) / sigma` is the noise that the
network sees in x, called `eps`.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from sfumato.diffusion import _multistep as multistep
from sfumato.diffusion.step import Denoise, Noise, Step

Result: TypeAlias = tuple[Any, tuple[Any, ...]]


def move(x: Any, denoised: Any, sigma: float, to: float) -> Any:
    """The ODE's solution from sigma to `to` if the network's answer did not change on the way."""
    return (to / sigma) * x + (1.0 - to / sigma) * denoised


def ancestral(sigma: float, to: float, eta: float) -> tuple[float, float]:
    """Split a step: down by the ODE to `down`, then noise `up`; down**2 + up**2 = to**2.

    With eta = 1 this is the posterior of DDPM (Ho et al. 2020), with eta = 0 nothing is random.
    """
    up = min(to, eta * to * math.sqrt(sigma**2 - to**2) / sigma)
    return math.sqrt(to**2 - up**2), up


def euler(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """Euler's method: Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn."""
    return move(x, denoise(x, step.sigma), step.sigma, step.next), ()


def euler_a(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 1.0
) -> Result:
    """Ancestral sampling with Euler's method: k-diffusion; eta as in Song et al. 2021, eq. 16."""
    down, up = ancestral(step.sigma, step.next, eta)
    x = move(x, denoise(x, step.sigma), step.sigma, down)
    return (x + up * noise() if up else x), ()


def ddim(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 0.0
) -> Result:
    """DDIM: Song et al. 2021 (arXiv 2010.02502), eq. 12. In these coordinates it is `euler_a`."""
    return euler_a(x, step, denoise, noise, old, eta=eta)


def ddpm(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """DDPM: Ho et al. 2020 (arXiv 2006.11239), eq. 6-7, the variance being the posterior's."""
    sigma, to = step.sigma, step.next
    denoised = denoise(x, sigma)
    share = (to / sigma) ** 2
    x = share * x + (1.0 - share) * denoised
    return (x + to * math.sqrt(1.0 - share) * noise() if to else x), ()


def heun(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """Heun's method: Karras et al. 2022 (arXiv 2206.00364), algorithm 1."""
    sigma, to = step.sigma, step.next
    denoised = denoise(x, sigma)
    guess = move(x, denoised, sigma, to)
    if to == 0:
        return guess, ()
    eps, eps_to = (x - denoised) / sigma, (guess - denoise(guess, to)) / to
    return x + (to - sigma) / 2.0 * (eps + eps_to), ()


def dpm2(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 0.0
) -> Result:
    """DPM-Solver-2: Lu et al. 2022 (arXiv 2206.00927), algorithm 1, ancestral for eta > 0."""
    sigma = step.sigma
    down, up = ancestral(sigma, step.next, eta)
    denoised = denoise(x, sigma)
    if down == 0:
        return move(x, denoised, sigma, down), ()
    middle = math.sqrt(sigma * down)
    guess = move(x, denoised, sigma, middle)
    x = x + (down - sigma) / middle * (guess - denoise(guess, middle))
    return (x + up * noise() if up else x), ()


def dpm2_a(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 1.0
) -> Result:
    """Ancestral sampling with DPM-Solver-2: k-diffusion."""
    return dpm2(x, step, denoise, noise, old, eta=eta)


def dpmpp_2s_a(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 1.0
) -> Result:
    """DPM-Solver++(2S): Lu et al. 2022 (arXiv 2211.01095), algorithm 1, r = 1/2, ancestral."""
    sigma = step.sigma
    down, up = ancestral(sigma, step.next, eta)
    denoised = denoise(x, sigma)
    if down == 0:
        return move(x, denoised, sigma, down), ()
    middle = math.sqrt(sigma * down)
    guess = move(x, denoised, sigma, middle)
    x = move(x, denoise(guess, middle), sigma, down)
    return (x + up * noise() if up else x), ()


def dpmpp_2s(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """DPM-Solver++(2S) over pairs of steps: Lu et al. 2022 (arXiv 2211.01095), algorithm 1.

    One evaluation a step: an even step is Euler's, an odd one covers both intervals at once.
    """
    denoised = denoise(x, step.sigma)
    if step.index % 2 == 0 or step.next == 0:
        return move(x, denoised, step.sigma, step.next), (x, denoised)
    start, first = old
    sigma, r = step.sigmas[step.index - 1], step.h_last / (step.h_last + step.h)
    mean = first + (denoised - first) / (2.0 * r)
    return move(start, mean, sigma, step.next), ()


def dpmpp_2m(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """DPM-Solver++(2M): Lu et al. 2022 (arXiv 2211.01095), algorithm 2."""
    denoised = mean = denoise(x, step.sigma)
    if old and step.next:
        mean = denoised + (step.h / step.h_last / 2.0) * (denoised - old[0])
    return move(x, mean, step.sigma, step.next), (denoised,)


def dpmpp_2m_sde(
    x: Any,
    step: Step,
    denoise: Denoise,
    noise: Noise,
    old: tuple,
    *,
    eta: float = 1.0,
    solver: str = "midpoint",
) -> Result:
    """SDE-DPM-Solver++(2M): Lu et al. 2022 (arXiv 2211.01095).

    `solver` "midpoint" or "heun": how the slope between the last two answers is weighted.
    """
    denoised = denoise(x, step.sigma)
    if step.next == 0:
        return denoised, ()
    z = step.h * (1.0 + eta)
    x = math.exp(-z) * x - math.expm1(-z) * denoised
    if old:
        weight = -math.expm1(-z) / 2.0 if solver == "midpoint" else 1.0 + math.expm1(-z) / z
        x = x + (weight * step.h / step.h_last) * (denoised - old[0])
    up = step.next * math.sqrt(-math.expm1(-2.0 * eta * step.h))
    return (x + up * noise() if up else x), (denoised,)


def dpmpp_3m_sde(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 1.0
) -> Result:
    """SDE-DPM-Solver++(3M): k-diffusion's third order; with eta = 0 the 3M of Lu et al. 2022."""
    denoised = denoise(x, step.sigma)
    if step.next == 0:
        return denoised, ()
    z = step.h * (1.0 + eta)
    x = math.exp(-z) * x - math.expm1(-z) * denoised
    phi_2 = 1.0 + math.expm1(-z) / z
    if old:
        slope = (step.h / step.h_last) * (denoised - old[0])
        if len(old) == 2:
            r, r_last = step.h_last / step.h, step.h_before / step.h
            bend = (slope - (old[0] - old[1]) / r_last) / (r + r_last)
            slope = slope + r * bend
            x = x - (phi_2 / z - 0.5) * bend
        x = x + phi_2 * slope
    up = step.next * math.sqrt(-math.expm1(-2.0 * eta * step.h))
    return (x + up * noise() if up else x), (denoised, *old)[:2]


def dpmpp_sde(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 1.0
) -> Result:
    """DPM-Solver++ (stochastic, single step, r = 1/2): k-diffusion.

    Both noises belong to one Brownian path over sigma: the second one contains the first.
    """
    sigma, to = step.sigma, step.next
    denoised = denoise(x, sigma)
    if to == 0:
        return denoised, ()
    middle = math.sqrt(sigma * to)
    down, up = ancestral(sigma, middle, eta)
    guess = move(x, denoised, sigma, down)
    path: Any = noise() if up else None
    if up:
        guess = guess + up * path
    denoised = denoise(guess, middle)
    down, up = ancestral(sigma, to, eta)
    x = move(x, denoised, sigma, down)
    if up:
        shared = (sigma - middle) / (sigma - to)
        x = x + up * (math.sqrt(shared) * path + math.sqrt(1.0 - shared) * noise())
    return x, ()


def plms(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """PLMS: Liu et al. 2022 (arXiv 2202.09778), section 3, begun with Heun's method."""
    sigma, to = step.sigma, step.next
    eps = (x - denoise(x, sigma)) / sigma
    if old or to == 0:
        return multistep.combine(x, multistep.adams(step, len(old)), (eps, *old))
    guess = x + (to - sigma) * eps
    eps_to = (guess - denoise(guess, to)) / to
    return x + (to - sigma) / 2.0 * (eps + eps_to), (eps,)


def ipndm(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """Improved PNDM: Zhang and Chen 2023 (arXiv 2204.13902), PLMS begun with lower orders."""
    eps = (x - denoise(x, step.sigma)) / step.sigma
    return multistep.combine(x, multistep.adams(step, len(old)), (eps, *old))


def lms(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, order: int = 4
) -> Result:
    """Linear multistep: Adams-Bashforth on uneven steps of sigma, order 1 to 4: k-diffusion."""
    eps = (x - denoise(x, step.sigma)) / step.sigma
    return multistep.combine(x, multistep.lms(step, min(order - 1, len(old))), (eps, *old))


def deis(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, order: int = 2
) -> Result:
    """DEIS: Zhang and Chen 2023 (arXiv 2204.13902), log-rho Adams-Bashforth, order 1 to 4."""
    eps = (x - denoise(x, step.sigma)) / step.sigma
    return multistep.combine(x, multistep.deis(step, min(order - 1, len(old))), (eps, *old))


def unipc(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, order: int = 2
) -> Result:
    """UniPC: Zhao et al. 2023 (arXiv 2302.04867), algorithms 1 and 2, with its B2(h).

    The answer first corrects the step that led here, then predicts the next. `order` is 1 to 4.
    """
    denoised = denoise(x, step.sigma)
    if old:
        start, *answers = old
        used = min(order, step.index, step.count - step.index + 1)
        x = multistep.unipc(step.sigmas, step.index - 1, start, answers[:used], denoised)

    answers = (denoised, *old[1:])[:order]
    used = min(order, step.index + 1, step.count - step.index)
    return multistep.unipc(step.sigmas, step.index, x, answers[:used]), (x, *answers)


def lcm(x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple) -> Result:
    """Multistep consistency sampling: Luo et al. 2023 (arXiv 2310.04378), algorithm 3.

    The boundary condition of consistency models is part of it, with sigma_data = 1/2 and timesteps
    times 10.
    """
    denoised = denoise(x, step.sigma)
    time = 10.0 * step.timestep
    spread = math.hypot(time, 0.5)
    skip = (0.5 / spread) ** 2 / math.hypot(step.sigma, 1.0)
    x = (time / spread) * denoised + skip * x
    return (x + step.next * noise() if step.next else x), ()


def tcd(
    x: Any, step: Step, denoise: Denoise, noise: Noise, old: tuple, *, eta: float = 0.3
) -> Result:
    """Strategic stochastic sampling: Zheng et al. 2024 (arXiv 2402.19159), eta being gamma."""
    denoised = denoise(x, step.sigma)
    if step.next == 0:
        return denoised, ()
    down = step.sigma_at(math.floor((1.0 - eta) * step.next_timestep)) if eta else step.next
    x = move(x, denoised, step.sigma, down)
    up = math.sqrt(max(step.next**2 - down**2, 0.0))
    return (x + up * noise() if up else x), ()
