"""A step as XLA sees it on a GPU.

Programs are lowered for one without having it: the denoisers have their true shapes and no values.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache, partial
from typing import Any

import jax
import pytest
from jax import ShapeDtypeStruct as Shape

from benchmarks.models import MODELS
from sfumato import programs
from sfumato.kernels import jax as kernels
from sfumato.networks.denoiser import Aids
from sfumato.networks.unet import UNet
from sfumato.runtime.jax import Program

pytestmark = pytest.mark.backend("jax")


@pytest.fixture(scope="module", autouse=True)
def hopper() -> Any:
    """A GPU as far as the choice of kernels is concerned: compute capability 9.0, with cuDNN."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "platform", lambda: "gpu")
        patch.setattr(kernels, "capability", lambda: 9.0)
        patch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
        patch.setattr(cudnn, "check_compute_capability", lambda _: True)
        yield
    step.cache_clear()


@lru_cache
def step(model: str, dtype: str, stored: str | None = None) -> tuple[str, Any, set[str]]:
    """The lowered ``evaluate`` of a model, its conditioning, and the shapes of its weights."""
    unet = UNet(MODELS[model].unet, dtype)
    width = MODELS[model].size // 8
    program = Program(partial(programs.evaluate, unet), [unet], True)
    given = [Shape(v.shape, stored or unet.compute_dtype) for v in program.variables]
    texts = Shape((2, 77, unet.config.context_width), "float32")
    added = (Shape((2, 1280), "float32"), Shape((2, 6), "float32")) if unet.takes_sizes else ()
    prepare = Program(partial(UNet.prepare, unet), [unet], True)
    conditioning = jax.eval_shape(prepare.pure, given, texts, *added)
    x, registers = (1, width, width, 4), 3
    state = programs.State(Shape((), "int32"), Shape((registers, *x), "float32"))
    table = Shape((1024, 4 + registers * (registers + 2)), "float32")
    noise, guidance = Shape(x, "float32"), Shape((2,), "float32")
    inputs = (state, table, noise, guidance, conditioning, Aids(), None)
    lowered = jax.jit(program.pure).trace(given, *inputs).lower(lowering_platforms=("cuda",))
    shapes = {"x".join(map(str, value.shape)) for value in given if len(value.shape) > 1}
    return lowered.as_text(), conditioning, shapes


def cast(text: str) -> set[str]:
    """The shapes of the inputs of a program that it converts to another dtype."""
    return set(re.findall(r"convert %arg\d+ : \(tensor<([0-9x]+)x[a-z]+\d+>\)", text))


CASES = [("sd1.5", "float16"), ("sd1.5", "mixed_float16"), ("sdxl", "bfloat16")]


@pytest.mark.parametrize(("model", "dtype"), CASES)
def test_no_weight_is_cast_at_every_step(model: str, dtype: str) -> None:
    text, _, weights = step(model, dtype)
    assert not cast(text) & weights


def test_the_check_sees_weights_that_are_cast() -> None:
    """As they were without ``runtime.jax.values``."""
    text, _, weights = step("tiny", "mixed_float16", stored="float32")
    assert cast(text) & weights


@pytest.mark.parametrize(("model", "dtype"), CASES)
def test_keys_and_values_of_the_text_come_from_outside(model: str, dtype: str) -> None:
    """No matmul takes 77 tokens, and the text itself is no input."""
    text, conditioning, _ = step(model, dtype)
    half = "bfloat16" if dtype == "bfloat16" else "float16"
    arrays = jax.tree.leaves(conditioning.memories)
    assert {x.dtype for x in arrays} == {jax.numpy.dtype(half)}
    products = re.findall(r"dot_general.*", text)
    assert products
    assert not [line for line in products if "tensor<2x77x" in line]


@pytest.mark.parametrize(
    ("model", "dtype", "widths"),
    [
        ("sd1.5", "float16", {40: 10, 80: 10, 160: 12}),
        ("sdxl", "bfloat16", {64: 140}),
        ("sd2.1", "float16", {64: 32}),
    ],
)
def test_all_attention_is_cudnns(model: str, dtype: str, widths: dict[int, int]) -> None:
    """Self-attention and attention to the text, by head width."""
    text, _, _ = step(model, dtype)
    calls = re.findall(r"custom_call @__cudnn\$fmhaSoftmax.*?-> \(tensor<(\S+?)>", text)
    assert Counter(int(shape.split("x")[-2]) for shape in calls) == widths


@pytest.mark.parametrize(("model", "dtype"), CASES)
def test_convolutions_are_channels_last(model: str, dtype: str) -> None:
    """Maps are (B, H, W, C) everywhere: nothing but the results of cuDNN's attention, which are
    (B, N, T, D) in name only, is transposed."""
    text, _, _ = step(model, dtype)
    orders = re.findall(r"convolution\(.*?dim_numbers = (\S.*?), window", text)
    assert Counter(orders).keys() == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    attention = len(re.findall(r"custom_call @__cudnn", text))
    turned = re.findall(r"transpose %\d+#0, dims = \[0, 2, 1, 3\]", text)
    assert len(re.findall(r"stablehlo\.transpose", text)) == len(turned) == attention
