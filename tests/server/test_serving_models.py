"""Models of a server: found by name, loaded when needed, gone when idle or in others' way."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from fake_painters import Studio

import tiny_model
from sfumato.picture import Picture
from sfumato.request import Request, RequestError
from sfumato.server.models import Diffusion
from sfumato.server.settings import Served

SIZE = {"width": 32, "height": 32}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Diffusion:
    folder = tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")
    return Diffusion(Served(source=str(folder)))


def paint(model: Diffusion, requests: list[Request]) -> list[np.ndarray]:
    return [made.pixels for made in model.stream(requests) if isinstance(made, Picture)]


def test_a_model_goes_by_its_name_its_source_and_its_file(open_studio: Callable[..., Studio]):
    served = {"mine": "mini", "photo": "/models/Photo.V2.safetensors", "old": "sd1.5"}
    models = open_studio(models=served).models
    names = {
        None: "mine",
        "": "mine",
        "mine": "mine",
        "MINI": "mine",
        "photo": "photo",
        "photo.v2": "photo",
        "Photo.V2.safetensors": "photo",
        "runwayml/stable-diffusion-v1-5": "old",
    }
    assert {name: models.find(name) for name in names} == names
    with pytest.raises(RequestError, match="one of mine, photo, old. Received: model='mini-turbo'"):
        models.find("mini-turbo")


def test_models_are_loaded_when_painted_with_and_leave_when_idle(
    open_studio: Callable[..., Studio],
):
    studio = open_studio(models=["a=mini", "b=mini-turbo"], keep_alive=0)
    service, models = studio.service, studio.models
    service.submit(Request(prompt="x", steps=1), model="a")
    assert (models.loaded, studio.painter.loads) == ([], 0)  # completed without being loaded
    service.workers[0].paint(service.queue.take(1, 0) or [])
    assert (models.loaded, studio.painter.is_loaded) == (["a"], True)
    models.unload_idle()
    assert (models.loaded, studio.painter.is_loaded) == ([], False)
    models.use("a")
    models.settings = models.settings.model_copy(update={"keep_alive": 60})
    models.unload_idle()
    assert models.loaded == ["a"]


@pytest.mark.parametrize("limit", ["memory", "free"])
def test_the_longest_unused_go_when_another_needs_room(
    open_studio: Callable[..., Studio], limit: str
):
    sources = ["a=mini", "b=mini-turbo", "c=sd1.5"]
    given = {"memory": 250 / 2**30} if limit == "memory" else {}  # two of 100 bytes
    models = open_studio(models=sources, **given).models
    if limit == "free":
        models._free = lambda: 2.0**30 + 250 - 100 * len(models.loaded)
    for name in ("a", "b", "a"):
        models.use(name)
    assert models.loaded == ["b", "a"]
    models.use("c")
    assert models.loaded == ["a", "c"]


def test_one_that_is_larger_than_all_memory_is_tried_alone(open_studio: Callable[..., Studio]):
    models = open_studio(models=["a=mini", "b=mini-turbo"], memory=1e-9).models
    models.use("a")
    models.use("b")
    assert models.loaded == ["b"]


def test_a_picture_is_the_same_alone_and_in_a_batch(tiny: Diffusion):
    words = ["a red apple", "a (blue:1.3) boat"]
    asked = [Request(prompt=p, seed=i, steps=2, **SIZE) for i, p in enumerate(words)]
    requests = [tiny.completed(request) for request in asked]
    assert requests[0].batch_key == requests[1].batch_key
    together = paint(tiny, requests)
    for request, picture in zip(requests, together, strict=True):
        (alone,) = paint(tiny, [request])
        # XLA adds up in another order for another batch, so a value may round differently.
        assert np.abs(alone.astype(int) - picture).max() <= 1
        assert np.array_equal(alone, paint(tiny, [request])[0])
    assert np.abs(together[0].astype(int) - together[1]).max() > 20


def test_unloading_gives_the_networks_back_and_the_next_picture_is_the_same(tiny: Diffusion):
    request = tiny.completed(Request(prompt="a red apple", seed=1, steps=1, **SIZE))
    first = paint(tiny, [request])
    unet = weakref.ref(tiny.model.parts.diffusion_model)
    tiny.unload()
    gc.collect()
    assert unet() is None
    assert np.array_equal(first, paint(tiny, [request]))


def test_the_size_is_that_of_the_weights(tiny: Diffusion):
    parts = tiny.model.parts
    networks = [parts.diffusion_model, parts.text_encoder, parts.decoder, parts.image_encoder]
    count = sum(network.count_params() for network in networks)
    assert tiny.size() == pytest.approx(4 * count, rel=0.01)
    served = tiny.served
    half = Diffusion(served.model_copy(update={"dtype": "float16"}))
    mixed = Diffusion(served.model_copy(update={"dtype": "mixed_bfloat16"}))
    assert (half.size(), mixed.size()) == (tiny.size() / 2, tiny.size() * 1.5)
    assert half.completed(Request(prompt="x", **SIZE)).dtype == "float16"
    with pytest.raises(RequestError, match="dtype"):
        tiny.completed(Request(prompt="x", dtype="float16", **SIZE))
