"""A model is copied and pickled, also after a picture: weights by path, changed ones along."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato.stable_diffusion import StableDiffusion
from tiny_model import paint

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    return tiny_model.used(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(shared: StableDiffusion) -> Iterator[StableDiffusion]:
    with tiny_model.lent(shared):
        yield shared


def pickled(model: StableDiffusion) -> StableDiffusion:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("way", [copy.deepcopy, pickled])
def test_a_copy_paints_the_same_by_itself(
    model: StableDiffusion, way: Callable[[StableDiffusion], StableDiffusion]
) -> None:
    before = paint(model)
    model.diffusion_model = tiny_model.load(model.model).diffusion_model  # that of the files
    model.diffusion_model.conv_out.bias.assign(np.full(4, 0.5))
    changed = paint(model)
    assert not np.array_equal(before, changed)

    other = way(model)
    assert "diffusion_model" in vars(other.parts)  # the files do not have it
    assert "text_encoder" not in vars(other.parts)
    np.testing.assert_array_equal(paint(other), changed)

    kernel = other.decoder.post_quant_conv.kernel
    kernel.assign(0 * ops.convert_to_tensor(kernel))
    assert not np.array_equal(paint(other), changed)
    np.testing.assert_array_equal(paint(model), changed)


def test_a_pickle_has_no_weights_that_the_files_have(model: StableDiffusion) -> None:
    copied = pickled(model)
    assert copied.model.name == model.model.name
    assert not {"text_encoder", "diffusion_model", "decoder"} & vars(copied.parts).keys()
    assert b"conv_out" not in pickle.dumps(model)
    mini = pickled(StableDiffusion.from_preset("mini"))
    assert (mini.model.preset.name, mini.model.steps) == ("mini", 20)


def test_a_part_of_ones_own_goes_along(model: StableDiffusion) -> None:
    before = paint(model)
    model.diffusion_model = tiny_model.unet(1)
    other = pickled(model)
    np.testing.assert_array_equal(paint(other), paint(model))
    assert not np.array_equal(paint(other), before)
