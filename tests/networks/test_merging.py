"""Token merging against the paper's algorithm in plain loops, and where its answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from references import error, first, last, unet
from test_parity import loaded_unet

from sfumato.networks.denoiser import Aids
from sfumato.networks.merging import TokenMerging, roles

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch")

Layer = Callable[[np.ndarray], np.ndarray]


def by_loops(layer: Layer, x: np.ndarray, targets: np.ndarray, merged: int) -> np.ndarray:
    """Bolya and Hoffman's merging for one picture's tokens x (T, C), token by token."""
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    sources = [t for t in range(len(x)) if t not in targets]
    best = {s: max(targets, key=lambda t: float(unit[s] @ unit[t])) for s in sources}
    likeness = {s: float(unit[s] @ unit[best[s]]) for s in sources}
    gone = sorted(sources, key=lambda s: -likeness[s])[:merged]
    groups = [[s] for s in sources if s not in gone]
    groups += [[t, *(s for s in gone if best[s] == t)] for t in targets]
    y = layer(np.stack([x[group].mean(axis=0) for group in groups]))
    result = np.zeros((len(x), y.shape[-1]), "float32")
    for row, group in zip(y, groups, strict=True):
        result[group] = row
    return result


def attend(x: np.ndarray) -> np.ndarray:
    """Attention of tokens (T, C) to themselves, without weights."""
    scores = x @ x.T
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ x


def tokens(batch: int, count: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((batch, count, width), "float32")


def whole(layer: Layer) -> Callable:
    """A layer of one picture's tokens as one of a batch of the backend's."""
    rows = ops.convert_to_numpy
    return lambda x: ops.convert_to_tensor(np.stack([layer(row) for row in rows(x)]))


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((2, 2), 0.75), ((4, 6), 0.5), ((5, 7), 0.1), ((5, 7), 0.75), ((1, 9), 0.5), ((2, 1), 0.5)],
    ids=str,
)
def test_the_papers_algorithm(size: tuple[int, int], ratio: float) -> None:
    H, W = size
    x = tokens(2, H * W)
    _, targets = roles(H, W)
    got = ops.convert_to_numpy(TokenMerging(ratio, H, W)(whole(attend), ops.convert_to_tensor(x)))
    merged = int(ratio * H * W) if len(targets) else 0
    for row, result in zip(x, got, strict=True):
        if merged:
            expected = by_loops(attend, row, targets, merged)
        else:
            expected = attend(row)
        assert np.abs(result - expected).max() < 1e-5


@given(H=st.integers(1, 12), W=st.integers(1, 12))
def test_every_cell_has_one_target(H: int, W: int) -> None:
    sources, targets = roles(H, W)
    assert sorted([*sources, *targets]) == list(range(H * W))
    y, x = np.divmod(targets, W)
    cells = {(a // 2, b // 2) for a, b in zip(y, x, strict=True)}
    assert len(cells) == len(targets) == (H // 2) * (W // 2)


def test_a_map_of_equal_cells_loses_nothing() -> None:
    """Every token four times over: attention among one of each is the same."""
    H, W = 8, 6
    small = tokens(2, H * W // 4).reshape(2, H // 2, W // 2, 8)
    x = small.repeat(2, axis=1).repeat(2, axis=2).reshape(2, H * W, 8)
    got = ops.convert_to_numpy(TokenMerging(0.75, H, W)(whole(attend), ops.convert_to_tensor(x)))
    assert np.abs(got - np.stack([attend(row) for row in x])).max() < 1e-5


def test_results_go_back_to_the_tokens_that_they_came_from() -> None:
    """Of a layer that does nothing, tokens that stay come back as they were, others as a mean."""
    H, W = 6, 6
    x = tokens(1, H * W)
    seen = []
    got = ops.convert_to_numpy(
        TokenMerging(0.5, H, W)(lambda y: seen.append(y.shape) or y, ops.convert_to_tensor(x))
    )
    assert seen == [(1, H * W // 2, 8)]
    _, targets = roles(H, W)
    assert np.allclose(got[0], by_loops(lambda y: y, x[0], targets, 18), atol=1e-6)
    unchanged = np.isclose(got, x, atol=1e-6).all(-1).sum()
    assert 9 <= unchanged < 36 - 18


@pytest.mark.parametrize(
    ("kind", "size", "level"),
    [("1.x", (9, 15), 0), ("xl", (13, 10), 1), ("pruned", (8, 6), 0)],
    ids=str,
)
def test_a_network(kind: str, size: tuple[int, int], level: int) -> None:
    """diffusers' network, its self-attentions of the highest level wrapped in the loops above."""
    theirs = unet(kind)
    ours = loaded_unet(theirs)
    H, W = (-(-side // 2**level) for side in size)
    for block in (theirs.down_blocks[level], theirs.up_blocks[len(theirs.up_blocks) - 1 - level]):
        for transformer in block.attentions:
            for part in transformer.transformer_blocks:
                wrap(part.attn1, H, W)
    x = tokens(2, size[0] * size[1], 4).reshape(2, *size, 4)
    context = tokens(2, 77, ours.config.context_width)
    inputs, added = [], {}
    if ours.takes_sizes:
        pooled, sizes = tokens(1, 2, 32)[0], np.full((2, 6), 64, "float32")
        inputs = [ops.convert_to_tensor(pooled), ops.convert_to_tensor(sizes)]
        text = {"text_embeds": torch.from_numpy(pooled), "time_ids": torch.from_numpy(sizes)}
        added = {"added_cond_kwargs": text}
    with torch.no_grad():
        expected = theirs(first(x), 321, torch.from_numpy(context), **added).sample
    merging = ours.token_merging(0.5, *size)
    assert (merging.height, merging.width) == (H, W)
    conditioning = ours.prepare(ops.convert_to_tensor(context), *inputs)
    given = ops.convert_to_tensor(x), ops.convert_to_tensor(321.0), conditioning
    got, deep = ours.predict(*given, keep=True, token_merging=0.5)
    assert error(got, last(expected)) < 2e-5
    assert error(ours.predict(*given).answer, last(expected)) > 1e-3  # merging is not nothing
    again = ours.predict(*given, Aids(deep=deep), token_merging=0.5).answer
    assert error(again, last(expected)) < 2e-5  # the deep part is all that the last block needs


def wrap(attention: torch.nn.Module, H: int, W: int) -> None:
    """Let diffusers' self-attention see merged tokens."""
    forward = attention.forward
    _, targets = roles(H, W)

    def merged(x: torch.Tensor, **options: object) -> torch.Tensor:
        def layer(y: np.ndarray) -> np.ndarray:
            return forward(torch.from_numpy(y)[None], **options)[0].numpy()

        if x.shape[1] != H * W:
            return forward(x, **options)
        rows = [by_loops(layer, row, targets, H * W // 2) for row in x.numpy()]
        return torch.from_numpy(np.stack(rows))

    attention.forward = merged
