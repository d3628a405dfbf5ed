"""From the prediction of a network to `denoised = D(x, sigma)`; and guidance.

Everything is in the variance-exploding convention: `x = x0 + sigma * noise`. A network trained on
`sqrt(abar) * x0 + sqrt(1 - abar) * noise` sees that as `x / sqrt(1 + sigma**2)`, and so

    denoised = c_skip * x + c_out * network(c_in * x, timestep)

with the three factors of Karras et al. 2022 (arXiv 2206.00364, section 5) below.
"""

from __future__ import annotations

from typing import Any

PREDICTIONS = ("epsilon", "v_prediction", "sample", "edm")


def scalings(prediction: str, sigma: Any, sigma_data: float = 1.0) -> tuple[Any, Any, Any]:
    """The factors (c_skip, c_out, c_in) of a prediction type.

    Args:
        prediction: "epsilon" (the noise), "v_prediction" (Salimans and Ho 2022, arXiv 2202.00512:
            `alpha * noise - sigma * x0` in variance-preserving terms), "sample" (x0 itself) or
            "edm" (the velocity with the other sign: Karras et al. 2022, table 1).
        sigma: noise level, a float or an array of any kind; the factors are of the same kind.
        sigma_data: standard deviation of the data, as EDM's networks have it.

    Example:
        >>> scalings("epsilon", 0.0)
        (1.0, -0.0, 1.0)
    """
    c_in = (sigma * sigma + sigma_data * sigma_data) ** -0.5
    if prediction == "epsilon":
        return 0.0 * sigma + 1.0, -sigma, c_in
    if prediction in ("v_prediction", "edm"):
        sign = -1.0 if prediction == "v_prediction" else 1.0
        return (sigma_data * c_in) * (sigma_data * c_in), sign * sigma * sigma_data * c_in, c_in
    if prediction == "sample":
        return 0.0 * sigma, 0.0 * sigma + 1.0, c_in
    raise ValueError(
        f"`prediction` must be one of {PREDICTIONS}. Received: prediction={prediction!r}"
    )


def guide(cond: Any, uncond: Any, scale: Any, rescale: Any = 0.0, push: Any = None) -> Any:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), optionally rescaled.

    Works on the network's outputs, as the reference implementation does.

    Args:
        cond: output for the prompt, (B, ...), a tensor or array of any kind.
        uncond: output for the negative prompt, like `cond`.
        scale: guidance scale w in `uncond + w * (cond - uncond)`; 1 gives `cond`.
        rescale: phi of Lin et al. 2023 (arXiv 2305.08891, eq. 14-16), from 0 to 1: mixes in the
            guided output scaled to the standard deviation of `cond`, which keeps high guidance from
            overexposing. The Python number 0 leaves the computation out; an array always computes
            it.
        push: what another rule adds before the rescale, like `cond`.

    Returns:
        The guided output, like `cond`.
    """
    guided = uncond + scale * (cond - uncond)
    if push is not None:
        guided = guided + push
    if isinstance(rescale, (int, float)) and rescale == 0:
        return guided
    from keras import ops

    axes = tuple(range(1, len(cond.shape)))
    wanted: Any = ops.std(cond, axis=axes, keepdims=True)
    factor = wanted / ops.std(guided, axis=axes, keepdims=True)
    return guided * (rescale * factor + (1.0 - rescale))


def project(cond: Any, away: Any, settings: Any, average: Any) -> tuple[Any, Any]:
    """Adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416, algorithm 1).

    The part of guidance that is parallel to the picture makes colours too strong, so it is taken
    out, or weakened. What remains keeps within a norm, and away from where it led before.

    Args:
        cond: the picture for the prompt as the network sees it, (B, h, w, C).
        away: that picture less the one for the negative prompt.
        settings: (3,), eta (the part of the parallel direction that is kept), the momentum and the
            largest norm, 0 for none. Of 1, 0 and 0 nothing changes.
        average: of the evaluation before, like `cond`; zeros at first.

    Returns:
        The direction to take in place of `away`, and the next average.
    """
    from keras import ops

    axes = tuple(range(1, len(cond.shape)))
    eta, momentum, most = settings[0], settings[1], settings[2]
    average = away + momentum * average
    norm: Any = ops.sqrt(ops.sum(average * average, axis=axes, keepdims=True))
    short = ops.where(most > 0, ops.minimum(1.0, most / ops.maximum(norm, 1e-12)), 1.0)
    direction = average * short
    share: Any = ops.sum(direction * cond, axis=axes, keepdims=True)
    parallel = share / ops.maximum(ops.sum(cond * cond, axis=axes, keepdims=True), 1e-12) * cond
    return direction + (eta - 1.0) * parallel, average


def compose(conds: Any, uncond: Any, weights: Any) -> Any:
    """Compose the outputs for several prompts (Liu et al. 2022, arXiv 2206.01714, eq. 11).

    Each prompt leads away from the negative prompt's output in its own direction, and the
    directions are added up.

    Args:
        conds: outputs for n prompts, (n B, h, w, C), those of the first prompt first.
        uncond: output for the negative prompt, (B, h, w, C); None without one.
        weights: (n, B) of the prompts.

    Returns:
        The output for all prompts, (B, h, w, C).
    """
    n, B = weights.shape
    base = 0.0 if uncond is None else uncond
    each = [conds[k * B : (k + 1) * B] - base for k in range(n)]
    return sum((weights[k][:, None, None, None] * each[k] for k in range(n)), base)
