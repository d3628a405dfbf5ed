"""Numbers that are not finite: which part had them first, and what helps."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from keras import ops

from sfumato import kernels
from sfumato.networks.network import Block, keys
from sfumato.parts import Parts


class NotFiniteError(ArithmeticError):
    """A number is not finite: a damaged weight, or an overflow while a picture was made."""


def check_finite(parts: Parts, is_finite: Any, what: str, *names: str) -> None:
    """Raise a NotFiniteError that says what is not finite, why, and the remedy.

    Args:
        parts: the model's.
        is_finite: whether all numbers are.
        what: they are, with its verb.
        names: of the parts that made them, whose weights are looked at if they are not.
    """
    if ops.convert_to_numpy(is_finite):
        return
    found = [vars(parts).get(name) for name in names]
    networks = {n: each for n, each in zip(names, found, strict=True) if isinstance(each, Block)}
    policy = parts.dtype_policy.compute_dtype
    dtype = next((network.compute_dtype for network in networks.values()), policy)
    remedy = "Use dtype='mixed_bfloat16' or dtype='float32' instead of float16."
    for name, network in networks.items():
        if weight := unsound_weight(network):
            said = f"the weight `{weight[0]}` of the {name} is {weight[1]}"
            if dtype == "float16" and not np.isnan(weight[1]):
                raise NotFiniteError(f"{what} not finite: {said}, too large. {remedy}")
            file = parts.model.checkpoint.path
            why = f"If nobody changed it, the file is damaged: `{file}`."
            raise NotFiniteError(f"{what} not finite: {said}. {why}")
    if dtype != "float16":
        remedy = f"It overflows in {dtype}, though every weight is finite: try a lower guidance."
    raise NotFiniteError(f"{what} not finite. {remedy}")


def unsound_weight(network: Block) -> tuple[str, float] | None:
    """The key and the value of the first weight that is not finite where the network computes."""
    most = float(ml_dtypes.finfo(network.compute_dtype).max)
    for key, variable in keys(network).items():
        values = kernels.read(variable).astype("float32")
        bad = ~(np.abs(values) <= most)
        if bad.any():
            return key, float(values[bad][0])
    return None
