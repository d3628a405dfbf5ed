"""The updates of weights that adapters hold: shapes checked when they are read, formulas in NumPy.

A formula is Einstein's sum over a layer's factors. Its letters say the shapes that the factors must
have: o and i are the layer's outputs and inputs, K the places of a convolution's kernel, I all of i
and K; any other letter is free. Weights are float32 in PyTorch's order, (O, I) or (O, I, h, w).

LoRA: Hu et al. 2021, arXiv 2106.09685. LoCon, LoHa, LoKr: Yeh et al. 2023, arXiv 2309.14859.
IA3: Liu et al. 2022, arXiv 2205.05638. GLoRA: Chavan et al. 2023, arXiv 2306.07967.
OFT: Qiu et al. 2023, arXiv 2306.07280. BOFT: Liu et al. 2023, arXiv 2311.06243.
DoRA: Liu et al. 2024, arXiv 2402.09353.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product as product_of

import numpy as np

from sfumato.adapters import rotations

Factors = Mapping[str, np.ndarray]
Shape = tuple[int, ...]
Change = Callable[[Factors, np.ndarray], np.ndarray]
"""Factors by name, shaped as their letters say, and the weight -> the change to add to it."""


@dataclass(frozen=True)
class Formula:
    """One way to change a weight.

    ``letters`` has the factors that it needs with their letters, ``rank`` the factor and axis whose
    length divides alpha; None: there is no such scale. Most changes do not depend on the weight.
    """

    letters: Mapping[str, str]
    change: Change
    rank: tuple[str, int] | None = None
    reads_weight: bool = False


@dataclass(frozen=True)
class Update:
    """A change of one tensor: W + strength * change, or a new W, as its formula says.

    Its factors are views of the file, in any float type. They are checked when it is made.
    """

    formula: Formula
    factors: Factors
    shape: Shape
    """Of the weight."""
    scale: float = 1.0
    magnitude: np.ndarray | None = None
    """The lengths of rows (O,) or columns (1, I, ...) that DoRA gives the weight."""

    def __call__(self, weight: np.ndarray, strength: float) -> np.ndarray:
        """The changed weight, float32; ``weight`` stays as it is."""
        return self.change(weight, strength) + weight

    @property
    def reads_weight(self) -> bool:
        """Whether the change depends on the weight that it meets."""
        return self.formula.reads_weight or self.magnitude is not None

    def change(self, weight: np.ndarray, strength: float) -> np.ndarray:
        """The change, new memory in the shape of the weight, whose values only some look at."""
        shaped = {
            name: _flat(self.factors[name], letters).astype("float32")
            for name, letters in self.formula.letters.items()
        }
        change = np.asarray(self.formula.change(shaped, weight).reshape(self.shape), "float32")
        if self.magnitude is not None:
            change *= np.float32(self.scale)
            change += weight
            change *= self._stretch(change)
            change -= weight
            change *= np.float32(strength)
        elif self.scale * strength != 1:
            change *= np.float32(self.scale * strength)
        return change

    def _stretch(self, direction: np.ndarray) -> np.ndarray:
        """The factors that give rows or columns the lengths of DoRA."""
        magnitude = np.asarray(self.magnitude, "float32")
        by_row = len(magnitude) == len(direction)
        axis = 0 if by_row else 1
        others = tuple(n for n in range(direction.ndim) if n != axis)
        length = np.sqrt(np.sum(direction * direction, axis=others, keepdims=True))
        return magnitude.reshape(length.shape) / (length + np.finfo("float32").eps)


def fits(formula: Formula, factors: Factors, shape: Shape) -> bool:
    """Whether factors have the shapes that a formula needs for a weight of this shape."""
    o, i, K = shape[0], shape[1] if len(shape) > 1 else 1, math.prod(shape[2:])
    known = {"o": o, "i": i, "K": K, "I": i * K, "v": o if len(shape) == 1 else 0}
    for name, letters in formula.letters.items():
        if factors[name].ndim < len(letters) or (not letters and factors[name].size != 1):
            return False
        for letter, size in zip(letters, _flat(factors[name], letters).shape, strict=False):
            if not size or known.setdefault(letter, size) != size:
                return False

    # Products of sizes: of Kronecker's p and q, m and n or N; of the blocks of a rotation
    if "p" in known and known["p"] * known["q"] != o:
        return False
    if "c" in known and not rotations.fit_butterfly(o, known["c"], known["q"]):
        return False
    return "m" not in known or known["m"] * known.get("N", known.get("n", 0) * K) == i * K


def _flat(factor: np.ndarray, letters: str) -> np.ndarray:
    """The factor with an axis for each letter, the last one of all that is left."""
    kept = factor.shape[: max(0, len(letters) - 1)]
    shape = (*kept, math.prod(factor.shape[len(kept) :])) if letters else ()
    return factor.reshape(shape)


def _sum(letters: str, *names: str) -> Change:
    """The sum over factors of these names."""
    return lambda f, _: np.einsum(letters, *(f[name] for name in names), optimize=True)


def _product(up: str, down: str) -> Change:
    """The product of two factors, in the order in memory of the weight that it is for."""

    def change(f: Factors, w: np.ndarray) -> np.ndarray:
        outputs_last = w.strides[0] < w.strides[-1]
        return (f[down].T @ f[up].T).T if outputs_last else f[up] @ f[down]

    return change


def _times(one: Change, other: Change) -> Change:
    return lambda f, w: one(f, w) * other(f, w)


def _kron(one: Change, other: Change) -> Change:
    """Every number of one, (p, m), times every one of the other, (q, N)."""

    def change(f: Factors, w: np.ndarray) -> np.ndarray:
        second = other(f, w)
        return np.einsum("pm,qN->pqmN", one(f, w), second.reshape(len(second), -1))

    return change


def _glora(letters: str, *names: str) -> Change:
    """b's product, and W times a's: of "oI" and of the inputs of W, "ziK"."""
    a, b = names[:2], names[2:]

    def change(f: Factors, w: np.ndarray) -> np.ndarray:
        through = np.einsum(letters, w.reshape(*w.shape[:2], -1), f[a[0]], f[a[1]], optimize=True)
        return (f[b[0]] @ f[b[1]]).reshape(w.shape) + through.reshape(w.shape)

    return change


def _scaled(axis: int) -> Change:
    """IA3: each row or column of W times its number."""
    return lambda f, w: w * f["weight"].reshape(*(1,) * axis, -1, *(1,) * (w.ndim - axis - 1))


def _rotation(name: str, turn: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Change:
    def change(f: Factors, w: np.ndarray) -> np.ndarray:
        is_free = "constraint" in f
        blocks = rotations.cayley(f[name], float(f["constraint"])) if is_free else f[name]
        turned = turn(w, blocks)
        if "rescale" in f:
            turned = turned * f["rescale"].reshape(-1, *(1,) * (w.ndim - 1))
        return turned - w

    return change


def _formulas() -> Iterator[Formula]:
    lora = {"lora_up": "or", "lora_down": "rI"}
    yield Formula(lora, _product(*lora), ("lora_down", 0))
    tucker = {"lora_up": "or", "lora_mid": "rsK", "lora_down": "si"}
    yield Formula(tucker, _sum("or,rsK,si->oiK", *tucker), ("lora_down", 0))

    # LoHa
    one, two = (("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b"))
    hada = dict(zip((*one, *two), ("or", "rI", "os", "sI"), strict=True))
    yield Formula(hada, _times(_product(*one), _product(*two)), ("hada_w1_b", 0))
    letters = ("ro", "si", "to", "ui", "rsK", "tuK")
    cores = dict(zip((*one, *two, "hada_t1", "hada_t2"), letters, strict=True))
    pairs = ((one, "hada_t1"), (two, "hada_t2"))
    factors = (_sum("ro,si,rsK->oiK", *names, core) for names, core in pairs)
    yield Formula(cores, _times(*factors), ("hada_w1_b", 0))

    # LoKr: either factor is whole, of low rank, or the second with a core
    firsts = ({"lokr_w1": "pm"}, {"lokr_w1_a": "pr", "lokr_w1_b": "rm"})
    seconds = (
        {"lokr_w2": "qN"},
        {"lokr_w2_a": "qs", "lokr_w2_b": "sN"},
        {"lokr_w2_a": "tq", "lokr_w2_b": "un", "lokr_t2": "tuK"},
    )
    for first, second in product_of(firsts, seconds):
        ends = ("pm", "qnK" if "lokr_t2" in second else "qN")
        parts = [
            _sum(f"{','.join(x.values())}->{end}", *x)
            for x, end in zip((first, second), ends, strict=True)
        ]
        both = first | second
        rank = next((name for name in ("lokr_w2_b", "lokr_w1_b") if name in both), None)
        yield Formula(both, _kron(*parts), (rank, 0) if rank else None)

    # Whole differences, and whole weights; of vectors, too
    for letters in ("oI", "v"):
        for name in ("diff", "w_norm", "diff_b", "b_norm", "bias"):
            yield Formula({name: letters}, lambda f, _, name=name: f[name])

    # What depends on the weight. GLoRA's older form comes first: a square fits both.
    for letters in ("oI", "v"):
        given = {"set_weight": letters}
        yield Formula(given, lambda f, w: f["set_weight"].reshape(w.shape) - w, None, True)
    old = {"a1": "ri", "a2": "ir", "b1": "sI", "b2": "os"}
    yield Formula(old, _glora("oiK,ir,rj->ojK", "a2", "a1", "b2", "b1"), ("a1", 0), True)
    new = {"a1": "ir", "a2": "ri", "b1": "os", "b2": "sI"}
    yield Formula(new, _glora("oiK,ir,rj->ojK", "a1", "a2", "b1", "b2"), ("a1", 1), True)
    for axis, letter in enumerate("oi"):
        yield Formula({"weight": letter, f"on_{letter}": ""}, _scaled(axis), None, True)
    for more in ({}, {"rescale": "o"}):
        free = {"constraint": "", **more}
        turn, butterfly = rotations.rotated, rotations.through_butterfly
        for letters, name, way in (
            ({"oft_blocks": "pqq", **free}, "oft_blocks", turn),
            ({"oft_blocks": "cpqq", **free}, "oft_blocks", butterfly),
            ({"oft_diag": "pqq", **more}, "oft_diag", turn),
        ):
            yield Formula(letters, _rotation(name, way), None, True)


FORMULAS = tuple(_formulas())


def formula_for(factors: Factors, shape: Shape) -> Formula | None:
    """The formula of factors of these names and shapes for a weight; None: there is none."""
    alike = (each for each in FORMULAS if each.letters.keys() == factors.keys())
    return next((each for each in alike if fits(each, factors, shape)), None)
