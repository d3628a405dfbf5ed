"""Memories: what a cross-attention layer makes of several, by a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from sfumato.networks.denoiser import Conditioning, Memory
from sfumato.networks.layers import CrossAttention

HEADS = 2


@pytest.fixture(scope="module")
def layer() -> CrossAttention:
    """Cross-attention with random weights, from 8 channels to texts of 6."""
    layer = CrossAttention(8, 6, HEADS)
    layer.build()
    for i, variable in enumerate(layer.weights):
        variable._value = None
        random = np.random.default_rng(i)
        variable._initialize(
            ops.convert_to_tensor(random.standard_normal(variable.shape), "float32")
        )
    return layer


def softmax_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """By hand: q, k, v (B, T, N, D) -> (B, T, N, D)."""
    scores = np.einsum("btnd,bsnd->bnts", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bnts,bsnd->btnd", weights / weights.sum(-1, keepdims=True), v)


def test_memories_add_up_by_their_weights(layer: CrossAttention) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((1, 5, 8), "float32")
    text, picture = (random.standard_normal((1, T, 6), "float32") for T in (7, 3))
    memories = [Memory(*layer.embed(ops.convert_to_tensor(each))) for each in (text, picture)]
    memories[1] = memories[1]._replace(values=0.25 * memories[1].values)
    got = ops.convert_to_numpy(layer(ops.convert_to_tensor(x), memories))

    q = ops.convert_to_numpy(layer.to_q(x)).reshape(1, 5, HEADS, 4)
    (k, v), (others, weighed) = ([*map(ops.convert_to_numpy, memory)] for memory in memories)
    attended = softmax_attention(q, k, v) + 0.25 * softmax_attention(q, others, 4 * weighed)
    expected = ops.convert_to_numpy(layer.to_out[0](attended.reshape(1, 5, 8).astype("float32")))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_prompts_of_a_guided_batch() -> None:
    keys = np.arange(4.0)[:, None, None, None]
    given = Conditioning([[Memory(keys, -keys)]], np.arange(4.0)[:, None])
    prompts = given.of_prompts(2)
    assert (given.batch, prompts.batch) == (4, 2)
    assert prompts.memories[0][0].values[:, 0, 0, 0].tolist() == [0.0, -1.0]
    assert prompts.added.tolist() == [[0.0], [1.0]]
