"""The cases of ``test_openvino``, collected by name under ``KERAS_BACKEND=openvino``.

Run as a program it paints with a small network and writes what came out and how often OpenVINO
compiled: ``python openvino_cases.py OUT``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from sfumato import runtime
from sfumato.networks.configs import UNetConfig
from sfumato.networks.layers import Conv3x3, give, keys
from sfumato.networks.unet import UNet
from sfumato.stable_diffusion import StableDiffusion

CONFIG = UNetConfig(
    channels=(32, 64),
    down=((1,), (0,)),
    mid=(1, 0),
    up=((0, 0), (1, 1)),
    heads=(4, 4),
    context_width=24,
    groups=8,
)


def small_unet(dtype: str = "float32") -> UNet:
    unet = UNet(CONFIG, dtype=dtype)
    unet.initialize(1)
    return unet


def inputs() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = (2, 8, 6, 4), (2, 32), (2, 7, 24)
    return [random.standard_normal(shape, "float32") for shape in shapes]


def unet_result(unet: UNet | None = None) -> np.ndarray:
    unet = unet or small_unet()
    program = runtime.compile(lambda *x: ops.cast(unet(list(x)), "float32"), [unet], True)
    return ops.convert_to_numpy(program(*inputs()))


def count_compilations() -> Counter[str]:
    """From now on: how often OpenVINO compiles a model, and how often it imports one."""
    import openvino

    counts: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(openvino.Core, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return method(*args, **kwargs)

        return call

    for name in ("compile_model", "import_model"):
        setattr(openvino.Core, name, counted(name))
    return counts


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    import openvino

    for name in ("compile_model", "import_model"):  # to be put back at the end
        monkeypatch.setattr(openvino.Core, name, getattr(openvino.Core, name))
    return count_compilations()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for executables."""
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", str(tmp_path))
    return tmp_path / "openvino"


class Pair(NamedTuple):
    first: Any
    second: Any


def test_network_agrees_with_jax() -> None:
    expected = np.load(os.environ["SFUMATO_TEST_UNET"])
    assert np.abs(unet_result() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-3), ("mixed_bfloat16", 5e-2)])
def test_half_precision(dtype: str, tolerance: float) -> None:
    expected = np.load(os.environ["SFUMATO_TEST_UNET"])
    difference = np.abs(unet_result(small_unet(dtype)) - expected).max()
    assert 0 < difference <= tolerance * np.abs(expected).max()


def test_trees_with_absent_leaves() -> None:
    def function(pair: Pair, more: list[Any]) -> tuple[Pair, list[Any]]:
        first, second = pair
        total = first if second is None else first + second
        return Pair(total, None), [more[0], {"twice": 2 * total}]

    program = runtime.compile(function, [], True)
    one, two = np.ones((2, 3), "float32"), np.full((2, 3), 2, "float32")
    for second, total in ((None, 1), (two, 3), (None, 1)):
        pair, (same, found) = program(Pair(one, second), [np.int32(7)])
        assert isinstance(pair, Pair)
        assert pair.second is None
        assert np.all(pair.first == total)
        assert np.all(found["twice"] == 2 * total)
        assert same == 7
        assert same.dtype == np.int32
    assert program.traces == 2


def test_tensors_and_views_are_inputs() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    x = np.arange(24, dtype="float32").reshape(4, 6)
    np.testing.assert_array_equal(program(ops.convert_to_tensor(x)), x + 1)
    np.testing.assert_array_equal(program(x.reshape(6, 4).T), x.reshape(6, 4).T + 1)
    np.testing.assert_array_equal(program(x[:, ::2]), x[:, ::2] + 1)


def test_results_are_not_overwritten() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    first = program(np.zeros(3, "float32"))
    program(np.ones(3, "float32"))
    np.testing.assert_array_equal(first, np.ones(3))


def test_bfloat16_goes_from_program_to_program() -> None:
    program = runtime.compile(lambda x: 2 * ops.cast(x, "bfloat16"), [], True)
    x = program(np.array([1.5, -3.0], "float32"))
    assert x.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(program(x).astype("float32"), [6.0, -12.0])


def test_new_weights_are_seen() -> None:
    layer = dense()
    program = runtime.compile(layer, [layer], True)
    x = np.ones((1, 3), "float32")
    for value in (1.0, 2.0):
        layer.kernel.assign(np.full((3, 2), value))
        np.testing.assert_allclose(program(x), [[3 * value] * 2])
    give(layer.kernel, np.full((3, 2), 5.0, "float32"))
    np.testing.assert_allclose(program(x), [[15.0, 15.0]])
    program(x)
    assert program.traces == 3


def test_few_executables_stay_in_memory() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    for size in (1, 2, 3, 1, 3, 1):
        assert program(np.zeros(size, "float32")).shape == (size,)
    assert program.traces == 4
    assert len(program.executables) == 2


def test_fit_says_which_backends_train() -> None:
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND to 'jax'"):
        small_unet().fit(inputs(), inputs()[0])


def test_no_kernel_is_transposed() -> None:
    """OpenVINO gets every kernel in the order it wants: turning them took most of compiling."""
    unet = small_unet()
    program = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    model, _ = program.trace(tuple(inputs()), inputs())
    transposed = [
        node.input_value(0).get_node().get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Transpose"
    ]
    assert transposed  # of the data, around convolutions and attention
    assert "Constant" not in transposed
    matmuls = [n for n in model.get_ordered_ops() if n.get_type_name() == "MatMul"]
    assert len(matmuls) > 20
    assert all(n.get_attributes()["transpose_b"] for n in matmuls)


def layer_types(run: Any) -> Counter[str]:
    """How many of OpenVINO's own layers of each kind compute in int8, and how many in float32."""
    found: Counter[str] = Counter()
    for node in run.get_runtime_model().get_ordered_ops():
        information = node.get_rt_info()
        kind = str(information["layerType"].astype(str))
        if kind in ("Convolution", "FullyConnected", "Transpose", "Reorder"):
            found[f"{kind} {str(information['primitiveType'].astype(str))[-3:].lower()}"] += 1
    return found


def test_a_map_stays_where_it_is_between_convolutions() -> None:
    """Without ``keep_channels_first`` every convolution's result is copied twice."""
    layers = [Conv3x3(32, 32) for _ in range(3)]
    for layer in layers:
        layer.build((None, None, None, 32))
        layer.bias.assign(np.arange(32) / 32)
    first, second, third = layers

    def function(x: Any, shift: Any) -> Any:
        y = first(x) + shift
        return ops.concatenate([second(ops.silu(y)) + y, third(y) * 0.5], axis=-1)

    program = runtime.compile(function, layers, True)
    x = inputs()[0].repeat(8, axis=-1)
    given = (x, np.ones((1, 1, 1, 32), "float32"))
    model, _ = program.trace(given, list(given))
    turned = [
        list(node.output(0).get_shape())
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Transpose" and node.output(0).get_shape()[0] == len(x)
    ]
    assert turned == [[2, 32, 8, 6], [2, 8, 6, 64]]  # what comes in, and what goes out

    def plain(x: np.ndarray, layer: Any) -> np.ndarray:
        return ops.convert_to_numpy(runtime.compile(layer, [layer], True)(x))

    y = plain(x, first) + 1
    silu = y / (1 + np.exp(-y))
    expected = np.concatenate([plain(silu, second) + y, plain(y, third) * 0.5], axis=-1)
    np.testing.assert_allclose(program(*given), expected, rtol=1e-4, atol=1e-4)


def quantized_unet(unet: UNet) -> Any:
    program = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    program.quantize(lambda: program(*inputs()), "one call")
    return program


def test_int8_is_near_float32_and_is_int8(folder: Path) -> None:
    unet = small_unet()
    expected = unet_result(unet)
    program = quantized_unet(unet)
    result = program(*inputs())
    difference = np.sqrt(np.mean((result - expected) ** 2)) / expected.std()
    assert 1e-4 < difference < 0.1
    found = layer_types(next(iter(program.executables.values())).run)
    convolutions = {k: n for k, n in found.items() if k.startswith("Convolution")}
    assert convolutions["Convolution f32"] == 2  # the first and the last
    assert sum(convolutions.values()) > 8
    assert found["FullyConnected _i8"] > 8


def test_int8_is_measured_once_for_weights_and_settings(folder: Path) -> None:
    unet = small_unet()
    first = quantized_unet(unet)
    assert first.traces == 1
    program = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    program.quantize(lambda: pytest.fail("measured again"), "one call")
    np.testing.assert_array_equal(program.ranges, first.ranges)
    np.testing.assert_array_equal(program(*inputs()), first(*inputs()))
    called = []
    program.quantize(lambda: called.append(program(*inputs())), "another call")
    keys(unet)["conv_out.bias"].assign(np.ones(4))
    program.quantize(lambda: called.append(program(*inputs())), "another call")
    assert len(called) == 2


def test_int8_serves_other_shapes(folder: Path) -> None:
    unet = small_unet()
    program = quantized_unet(unet)
    latents, time, context = (np.concatenate([x, x]) for x in inputs())
    both = program(latents, time, context)
    one = program(*inputs())
    assert np.abs(both[:2] - one).max() <= 1e-4 * np.abs(one).max()


def test_pictures_in_int8(folder: Path) -> None:
    model = StableDiffusion(64, 64, preset="mini")
    options = {"num_steps": 4, "seed": 3, "verbose": False}
    expected = model.text_to_image("a red apple", **options)
    model.quantize("int8", ["a blue heart"], 4, decoder=True)
    assert model.last_seed == 3
    found = model.text_to_image("a red apple", **options)
    error = np.mean((found.astype("float64") - expected) ** 2)
    assert 0 < error < 65  # 30 dB
    assert model._decode.ranges is not None
    reused = model.text_to_image("a red apple", feature_reuse=2, token_merging=0.5, **options)
    assert np.any(reused != found)
    keeping = model._step_variant(True, 0.5)
    for program in (model._step, keeping):  # those of shallow steps are among the first's
        kinds = layer_types(next(reversed(program.executables.values())).run)
        assert kinds["Convolution _i8"] > 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("int4",), "`mode` must be 'int8'"), (("int8", "a"), "a list"), (("int8", []), "a list")],
)
def test_int8_is_asked_for_rightly(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StableDiffusion(64, 64, preset="mini").quantize(*arguments)


def test_weights_share_the_memory_they_are_given() -> None:
    unet = small_unet()
    file = np.ones((64, 32, 3, 3), "float32")  # (O, I, h, w), as checkpoints have it
    variable = keys(unet)["down_blocks.1.resnets.0.conv1.weight"]
    give(variable, file.transpose(2, 3, 1, 0))
    stored = variable.value.output.get_node().input_value(0).get_node().data
    assert np.shares_memory(stored, file)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_read_back_as_given(dtype: str) -> None:
    unet = UNet(CONFIG, dtype=dtype)
    unet.initialize(1)
    for key in ("conv_in.weight", "conv_in.bias", "time_embedding.linear_1.weight"):
        variable = keys(unet)[key]
        value = np.random.default_rng(2).standard_normal(variable.shape).astype(variable.dtype)
        give(variable, value)
        found = ops.convert_to_numpy(variable)
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)


def test_second_process_imports(tmp_path: Path, folder: Path, counts: Counter[str]) -> None:
    result = unet_result()
    assert counts == {"compile_model": 1}
    out = tmp_path / "second.npz"
    subprocess.run([sys.executable, "-W", "error", __file__, out], check=True)
    with np.load(out) as second:
        assert dict(zip(second["names"], second["counts"], strict=True)) == {"import_model": 1}
        np.testing.assert_array_equal(second["result"], result)
    assert len(list(folder.iterdir())) == 1


def dense() -> Any:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    layer.kernel.assign(np.arange(6).reshape(3, 2))
    return layer


def result_of(layer: Any) -> np.ndarray:
    return runtime.compile(layer, [layer], True)(np.ones((1, 3), "float32"))


def flip(entry: bytes) -> bytes:
    middle = len(entry) // 2
    return entry[:middle] + bytes([entry[middle] ^ 1]) + entry[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda entry: entry[:-100], lambda _: b"", lambda entry: b"another program" + entry],
    ids=["flipped", "cut", "empty", "foreign"],
)
def test_damaged_entry_is_replaced(
    damage: Callable[[bytes], bytes], folder: Path, counts: Counter[str]
) -> None:
    result = result_of(dense())
    (entry,) = folder.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    np.testing.assert_array_equal(result_of(dense()), result)
    assert counts == {"compile_model": 2}
    np.testing.assert_array_equal(result_of(dense()), result)
    assert counts == {"compile_model": 2, "import_model": 1}
    assert list(folder.iterdir()) == [entry]


def test_intact_entry_that_cannot_be_imported(folder: Path, counts: Counter[str]) -> None:
    from sfumato.runtime import openvino

    result = result_of(dense())
    (entry,) = folder.iterdir()
    openvino.write(entry, b"no executable")
    np.testing.assert_array_equal(result_of(dense()), result)
    assert counts == {"compile_model": 2, "import_model": 1}


def test_other_weights_are_another_entry(folder: Path) -> None:
    layer = dense()
    first = result_of(layer)
    layer.bias.assign(np.ones(2))
    np.testing.assert_allclose(result_of(layer), first + 1)
    assert len(list(folder.iterdir())) == 2


def test_large_networks_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.runtime import openvino

    monkeypatch.setattr(openvino, "LARGE", 10)
    result_of(dense())
    assert not folder.exists()


def test_cache_can_be_off_or_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", "off")
    result = result_of(dense())
    (tmp_path / "file").touch()
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(result_of(dense()), result)


if __name__ == "__main__":
    found = count_compilations()
    painted = unet_result()
    np.savez(sys.argv[1], result=painted, names=list(found), counts=list(found.values()))
