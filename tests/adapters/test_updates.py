"""The formulas of updates, judged by their definitions, written out with loops and krons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.lora_files import numbers, write
from sfumato.adapters.lora import read_lora
from sfumato.adapters.names import Networks
from sfumato.adapters.updates import Update
from sfumato.networks.configs import UNetConfig

SMALL = Networks(
    UNetConfig(
        channels=(8, 16), down=((1,), (0,)), up=((0, 0), (1, 1)), mid=(), heads=(2, 2),
        context_width=12, groups=4,
    )
)  # fmt: skip
LINEAR = ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", (8, 12))
CONV = ("lora_unet_down_blocks_1_resnets_0_conv1", (16, 8, 3, 3))
NORM = ("lora_unet_conv_norm_out", (8,))
Factors = dict[str, Any]


def read(path: Path, name: str, factors: Factors) -> dict[str, Update]:
    file = {f"{name}.{key}": np.asarray(x) for key, x in factors.items()}
    lora = read_lora(write(path / "a.safetensors", file), SMALL)
    assert not lora.unused
    return dict(lora.updates["unet"])


def weight(path: Path, name: str, factors: Factors) -> Update:
    [update] = read(path, name, factors).values()
    return update


def agree(update: Update, before: np.ndarray, expected: np.ndarray) -> None:
    """The change at full and at half strength; float32 sums differ in their last digits."""
    for strength in (1.0, 0.5, 0.0, -1.0):
        after = before + strength * (expected - before)
        np.testing.assert_allclose(update(before, strength), after, rtol=2e-5, atol=2e-5)
    assert update(before, 0.0).tobytes() == (before + np.float32(0)).tobytes()


@pytest.mark.parametrize(("name", "shape"), [LINEAR, CONV], ids=["linear", "conv"])
class TestWeights:
    def test_lora(self, tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
        W, up, down = (
            numbers(*shape),
            numbers(shape[0], 3, *shape[3:] and (1, 1)),
            numbers(3, *shape[1:]),
        )
        factors = {"lora_up.weight": up, "lora_down.weight": down, "alpha": np.float32(1.5)}
        delta = np.tensordot(up.reshape(-1, 3), down, 1) * 0.5
        agree(weight(tmp_path, name, factors), W, W + delta)

    def test_loha(self, tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
        W, inputs = numbers(*shape), int(np.prod(shape[1:]))
        a, b, c, d = (numbers(shape[0], 2), numbers(2, inputs), numbers(shape[0], 2, seed=5),
                      numbers(2, inputs, seed=5))  # fmt: skip
        factors = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": 1.0}
        agree(weight(tmp_path, name, factors), W, W + ((a @ b) * (c @ d)).reshape(shape) / 2)

    @pytest.mark.parametrize("whole", ["both", "first", "second", "none"])
    def test_lokr(self, tmp_path: Path, name: str, shape: tuple[int, ...], whole: str) -> None:
        W = numbers(*shape)
        a, b, c, d = numbers(2, 3), numbers(3, 4), numbers(shape[0] // 2, 2), None
        d = numbers(2, int(np.prod(shape[1:])) // 4)
        one, two = a @ b, c @ d
        factors: Factors = {"alpha": 1.0}
        factors |= (
            {"lokr_w1": one} if whole in ("both", "first") else {"lokr_w1_a": a, "lokr_w1_b": b}
        )
        kept = two.reshape(len(c), shape[1] // 4, *shape[2:])
        factors |= (
            {"lokr_w2": kept} if whole in ("both", "second") else {"lokr_w2_a": c, "lokr_w2_b": d}
        )
        scale = {"both": 1.0, "first": 1 / 2, "second": 1 / 3, "none": 1 / 2}[whole]
        agree(weight(tmp_path, name, factors), W, W + scale * np.kron(one, two).reshape(shape))

    def test_differences(self, tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
        W, diff = numbers(*shape), numbers(*shape, seed=3)
        agree(weight(tmp_path, name, {"diff": diff}), W, W + diff)
        agree(weight(tmp_path, name, {"set_weight": diff}), W, diff)

    @pytest.mark.parametrize("axis", [0, 1])
    def test_ia3(self, tmp_path: Path, name: str, shape: tuple[int, ...], axis: int) -> None:
        W, w = numbers(*shape), numbers(shape[axis], seed=3)
        sides = [1] * len(shape)
        sides[axis] = -1
        stored = w.reshape(1, -1, 1, 1) if len(shape) > 2 else w
        update = weight(tmp_path, name, {"weight": stored, "on_input": np.float32(axis)})
        agree(update, W, W + W * w.reshape(sides))

    @pytest.mark.parametrize("is_old", [False, True])
    def test_glora(self, tmp_path: Path, name: str, shape: tuple[int, ...], is_old: bool) -> None:
        out, inputs, r = shape[0], shape[1], 2
        a, b = numbers(inputs, r), numbers(r, inputs, seed=1)
        c, d = numbers(out, r, seed=2), numbers(r, int(np.prod(shape[1:])), seed=3)
        W = numbers(*shape)
        order = ("a2", "a1", "b2", "b1") if is_old else ("a1", "a2", "b1", "b2")
        factors = dict(zip((f"{n}.weight" for n in order), (a, b, c, d), strict=True))
        through = np.moveaxis(np.tensordot(np.moveaxis(W, 1, -1), a @ b, 1), -1, 1)
        delta = ((c @ d).reshape(shape) + through) * (3 / r)
        agree(weight(tmp_path, name, factors | {"alpha": 3.0}), W, W + delta)

    @pytest.mark.parametrize("limit", [0.0, 0.02])
    @pytest.mark.parametrize("rescaled", [False, True])
    def test_oft(
        self, tmp_path: Path, name: str, shape: tuple[int, ...], limit: float, rescaled: bool
    ) -> None:
        W, blocks, out = numbers(*shape), numbers(shape[0] // 4, 4, 4), shape[0]
        rescale = 1 + numbers(out)
        factors: Factors = {"oft_blocks": blocks, "alpha": np.float32(limit)}
        if rescaled:
            factors["rescale"] = rescale.reshape(-1, *[1] * (len(shape) - 1))
        Q = blocks - blocks.transpose(0, 2, 1)
        norm = np.sqrt((Q**2).sum())
        Q = Q * min(1, limit * out / norm) if limit else Q
        rows = W.reshape(out, -1)
        turned = np.zeros_like(rows)
        for k, q in enumerate(Q):
            R = (np.eye(4) + q) @ np.linalg.inv(np.eye(4) - q)
            np.testing.assert_allclose(R @ R.T, np.eye(4), atol=1e-5)
            turned[4 * k : 4 * k + 4] = R.T @ rows[4 * k : 4 * k + 4]
        if rescaled:
            turned = turned * rescale[:, None]
        agree(weight(tmp_path, name, factors), W, turned.reshape(shape))

    def test_boft(self, tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
        out, b, stages = shape[0], 4, 2
        W, blocks = numbers(*shape), numbers(stages, out // b, b, b)
        rows = W.reshape(out, -1)
        for i in range(stages):
            k = 2**i * b // 2
            # (c g k) -> (c k g): row c * 2k + g * k + j goes to place c * 2k + 2j + g
            places = [(n // (2 * k)) * 2 * k + 2 * (n % k) + (n // k) % 2 for n in range(out)]
            P = np.zeros((out, out))
            P[places, range(out)] = 1
            R = np.zeros((out, out))
            for j, q in enumerate(blocks[i] - blocks[i].transpose(0, 2, 1)):
                block = (np.eye(b) + q) @ np.linalg.inv(np.eye(b) - q)
                R[b * j : b * j + b, b * j : b * j + b] = block
            rows = P.T @ R @ P @ rows
        agree(weight(tmp_path, name, {"oft_blocks": blocks}), W, rows.reshape(shape))

    @pytest.mark.parametrize("axis", [0, 1])
    def test_dora(self, tmp_path: Path, name: str, shape: tuple[int, ...], axis: int) -> None:
        W, up, down = numbers(*shape), numbers(shape[0], 3), numbers(3, *shape[1:])
        sides = [1] * len(shape)
        sides[axis] = shape[axis]
        m = 1 + numbers(*sides) ** 2
        V = W + np.tensordot(up, down, 1) * 2
        others = tuple(n for n in range(len(shape)) if n != axis)
        expected = m * V / np.sqrt((V**2).sum(axis=others, keepdims=True))
        factors = {"lora_up.weight": up, "lora_down.weight": down, "alpha": 6.0, "dora_scale": m}
        agree(weight(tmp_path, name, factors), W, expected)

    def test_pefts_magnitude_is_of_rows(
        self, tmp_path: Path, name: str, shape: tuple[int, ...]
    ) -> None:
        W, up, down = numbers(*shape), numbers(shape[0], 3), numbers(3, *shape[1:])
        m = 1 + numbers(shape[0]) ** 2
        V = W + np.tensordot(up, down, 1)
        length = np.linalg.norm(V.reshape(shape[0], -1), axis=1)
        expected = V * (m / length).reshape(-1, *[1] * (len(shape) - 1))
        stored = m.reshape(1, -1, 1, 1) if len(shape) > 2 else m
        factors = {"lora_B.weight": up, "lora_A.weight": down}
        factors["lora_magnitude_vector.weight"] = stored
        agree(weight(tmp_path, name, factors), W, expected)


def test_tucker(tmp_path: Path) -> None:
    name, shape = CONV
    W, up, mid, down = (
        numbers(*shape),
        numbers(16, 3, 1, 1),
        numbers(3, 2, 3, 3),
        numbers(2, 8, 1, 1),
    )
    delta = np.zeros(shape)
    for m in range(3):
        for n in range(2):
            delta += np.multiply.outer(np.outer(up[:, m, 0, 0], down[n, :, 0, 0]), mid[m, n])
    factors = {"lora_up.weight": up, "lora_mid.weight": mid, "lora_down.weight": down, "alpha": 1.0}
    agree(weight(tmp_path, name, factors), W, W + delta / 2)


def test_loha_and_lokr_with_cores(tmp_path: Path) -> None:
    name, shape = CONV
    W, t, u = numbers(*shape), numbers(2, 2, 3, 3), numbers(2, 2, 3, 3, seed=1)
    a, b, c, d = numbers(2, 16), numbers(2, 8), numbers(2, 16, seed=1), numbers(2, 8, seed=1)

    def core(t: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        terms = [
            np.multiply.outer(np.outer(a[i], b[j]), t[i, j])
            for i in range(len(a))
            for j in range(len(b))
        ]
        return np.sum(terms, axis=0)

    factors = {
        "hada_t1": t,
        "hada_w1_a": a,
        "hada_w1_b": b,
        "hada_t2": u,
        "hada_w2_a": c,
        "hada_w2_b": d,
    }
    agree(weight(tmp_path, name, factors), W, W + core(t, a, b) * core(u, c, d))

    one, a, b = numbers(4, 2), numbers(2, 4), numbers(2, 4, seed=1)
    factors = {"lokr_w1": one, "lokr_t2": t, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": 1.0}
    delta = np.kron(one[:, :, None, None], core(t, a, b)) / 2
    agree(weight(tmp_path, name, factors), W, W + delta)


def test_diagonal_rotations_are_taken_as_they_are(tmp_path: Path) -> None:
    name, shape = LINEAR
    W, R = numbers(*shape), numbers(2, 4, 4)
    expected = np.concatenate([R[k].T @ W[4 * k : 4 * k + 4] for k in range(2)])
    agree(weight(tmp_path, name, {"oft_diag": R}), W, expected)


def test_norms_and_biases(tmp_path: Path) -> None:
    w, b = numbers(8, seed=1), numbers(8, seed=2)
    found = read(tmp_path, NORM[0], {"w_norm": w, "b_norm": b})
    agree(found["conv_norm_out.weight"], numbers(8), numbers(8) + w)
    agree(found["conv_norm_out.bias"], numbers(8), numbers(8) + b)

    found = read(tmp_path, CONV[0], {"diff": numbers(*CONV[1]), "diff_b": numbers(16)})
    agree(found["down_blocks.1.resnets.0.conv1.bias"], numbers(16), 2 * numbers(16))


def test_a_square_of_glora_is_of_the_older_form(tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    a1, a2, b1, b2, W = (numbers(8, 8, seed=i) for i in range(5))
    factors = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2}
    agree(weight(tmp_path, name, factors), W, W + b2 @ b1 + W @ a2 @ a1)


def test_plain_updates_commute(tmp_path: Path) -> None:
    W = numbers(*LINEAR[1])
    one, two = (
        weight(tmp_path, LINEAR[0], {"lora_up.weight": numbers(8, 2, seed=i),
                                     "lora_down.weight": numbers(2, 12, seed=i)})
        for i in (1, 2)
    )  # fmt: skip
    np.testing.assert_allclose(one(two(W, 0.3), 0.7), two(one(W, 0.7), 0.3), rtol=1e-5, atol=1e-6)
