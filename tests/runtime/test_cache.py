"""The cache of compiled programs: where it is, what is read from it, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import keras
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from keras import ops

from sfumato import programs, runtime
from sfumato.networks.autoencoder import ImageDecoder
from sfumato.networks.configs import AutoencoderConfig
from sfumato.runtime import cache
from sfumato.runtime.jax import identity

pytestmark = pytest.mark.backend("jax")  # OpenVINO's executables have tests of their own
X = np.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)
PICTURE = np.clip(np.round(X * 127.5 + 127.5), 0, 255).astype("uint8")
DECODER = AutoencoderConfig(channels=(8,), layers=1, groups=4)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", str(tmp_path))
    return tmp_path / "jax"


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def traces(x: Any = X, function: Any = programs.to_pixels) -> int:
    """How often a program that knows nothing is traced when it first runs, as in a new process."""
    program: Any = runtime.compile(function, [], True)
    if x is X:
        assert np.array_equal(program(x), PICTURE)
    else:
        program(x)
    return program.traces


def decoder(config: AutoencoderConfig = DECODER, dtype: Any = None) -> ImageDecoder:
    network = ImageDecoder(config, dtype)
    network.initialize(0)
    return network


# What a later process does


def test_it_neither_traces_nor_compiles() -> None:
    assert [traces(), traces(), traces()] == [1, 0, 0]


def test_the_results_are_the_same_bytes() -> None:
    network, x = decoder(), np.random.default_rng(0).random((1, 4, 4, 4), "float32")
    made: list[Any] = [runtime.compile(partial(programs.decode, network), [network], True)] * 2
    made[1] = runtime.compile(partial(programs.decode, network), [network], True)
    pictures = [np.asarray(program(x)[0]) for program in made]
    assert [program.traces for program in made] == [1, 0]
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert len(np.unique(pictures[0])) > 10


def test_an_executable_from_the_disk_sees_new_weights() -> None:
    network, x = decoder(), np.ones((1, 4, 4, 4), "float32")
    runtime.compile(partial(programs.decode, network), [network], True)(x)
    program: Any = runtime.compile(partial(programs.decode, network), [network], True)
    before = np.asarray(program(x)[0])
    network.decoder.conv_out.bias.assign(ops.ones(3))
    after = np.asarray(program(x)[0])
    assert program.traces == 0
    assert (after > before).any()
    expected, _ = programs.decode(network, ops.convert_to_tensor(x))
    assert np.abs(after.astype(int) - np.asarray(expected)).max() <= 1


def test_every_shape_is_an_entry(folder: Path) -> None:
    assert traces() == traces(X[:2]) == 1
    assert len(entries(folder)) == 2
    assert traces() == traces(X[:2]) == 0


def test_every_combination_of_static_values_is_an_entry(folder: Path) -> None:
    for known in (False, True):
        for axis, shape in ((0, (1, 3, 4)), (1, (3, 1, 4)), (-1, (3, 4, 1))):
            program: Any = runtime.compile(ops.expand_dims, [], True)
            assert program(X, axis=axis).shape == shape
            assert program.traces == (not known)
    assert len(entries(folder)) == 3


# What is not read


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other", "long"])
def test_a_damaged_entry_is_ignored_and_replaced(folder: Path, damage: str) -> None:
    traces()
    (path,) = entries(folder)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    bad = {
        "empty": b"",
        "cut": good[:-100],
        "flipped": bytes(flipped),
        "other": b"not a program",
        "long": good + b"\0",
    }
    path.write_bytes(bad[damage])
    assert [traces(), traces()] == [1, 0]
    assert entries(folder) == [path]


def test_an_entry_under_another_name_is_not_read(folder: Path) -> None:
    traces()
    (path,) = entries(folder)
    traces(X[:2])
    (other,) = [entry for entry in entries(folder) if entry != path]
    other.write_bytes(path.read_bytes())
    assert [traces(X[:2]), traces(X[:2])] == [1, 0]


def test_an_entry_that_is_intact_but_no_executable_is_replaced(folder: Path) -> None:
    traces()
    (path,) = entries(folder)
    cache.write(path, b"from an odd machine")
    assert [traces(), traces()] == [1, 0]


def test_an_entry_of_another_user_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces()
    theirs = SimpleNamespace(st_uid=os.getuid() + 1)
    monkeypatch.setattr(os, "fstat", lambda _: theirs)
    assert cache.read(entries(folder)[0]) is None
    assert cache.write(folder / "mine", b"") is None
    monkeypatch.undo()
    assert cache.read(entries(folder)[0]) is not None


@pytest.mark.parametrize("what", ["version", "sources", "flags", "precision"])
def test_another_version_or_setting_has_entries_of_its_own(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    assert traces() == 1
    if what == "version":
        monkeypatch.setattr(identity, "version", lambda name: "99")
    elif what == "sources":
        monkeypatch.setattr(identity, "SOURCES", Path(__file__).parent)
    elif what == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    identity.surroundings.cache_clear()
    precision = "highest" if what == "precision" else None
    with jax.default_matmul_precision(precision):
        assert [traces(), traces()] == [1, 0]
    monkeypatch.undo()
    identity.surroundings.cache_clear()


def test_programs_with_code_of_ones_own_are_not_kept(folder: Path) -> None:
    assert traces(function=lambda x: programs.to_pixels(x + 0)) == 1
    network = decoder()
    network.decoder.conv_out.call = lambda x: x
    program: Any = runtime.compile(partial(programs.decode, network), [network], True)
    assert program.identity is None
    network = decoder()
    network.post_quant_conv.activation = lambda x: 2 * x
    program = runtime.compile(partial(programs.decode, network), [network], True)
    assert program.identity is None
    assert entries(folder) == []


def test_settings_in_lists_belong_to_the_identity() -> None:
    scales = [[0.5, 1.0], [0.5, 2.0]]
    layers = [keras.layers.Rescaling(scale) for scale in scales]
    assert len({repr(identity.describe(layer)) for layer in layers}) == 2


def test_the_identity_tells_networks_apart() -> None:
    wide = AutoencoderConfig(channels=(16,), layers=1, groups=4)
    scaled = AutoencoderConfig(channels=(8,), layers=1, groups=4, scaling_factor=1.0)
    edited = decoder()
    edited.decoder.conv_norm_out.epsilon = 0.1
    active = decoder()
    active.post_quant_conv.activation = keras.activations.relu
    networks = [decoder(), decoder(wide), decoder(scaled), decoder(DECODER, "mixed_float16")]
    seen = {repr(identity.describe(network)) for network in [*networks, edited, active]}
    assert len(seen) == 6
    assert repr(identity.describe(decoder())) in seen


def test_the_identity_tells_functions_apart() -> None:
    functions = [programs.to_pixels, programs.decode, partial(programs.decode, 1)]
    functions += [partial(programs.decode, 2), partial(programs.decode, x=2)]
    assert len({repr(identity.describe(function)) for function in functions}) == 5


# The folder


def test_a_folder_that_cannot_be_written_to_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", str(tmp_path / "file"))
    assert [traces(), traces()] == [1, 1]


def test_it_can_be_switched_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", "off")
    assert [traces(), traces()] == [1, 1]
    assert entries(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the user's folder is another")
def test_it_is_in_the_users_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SFUMATO_COMPILE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "sfumato" / "compiled"


def test_where_jax_keeps_executables_there_are_no_others(folder: Path, tmp_path: Path) -> None:
    """JAX gives back its own without what a second copy of them would need."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path / "of_jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # which is looked for once
        assert [traces(), traces()] == [1, 1]
        assert list((tmp_path / "of_jax").iterdir())
        assert not entries(folder)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def test_without_a_home_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it does without a home
    for chosen in (None, "~/cache", "~nobody/cache"):
        if chosen is None:
            monkeypatch.delenv("SFUMATO_COMPILE_CACHE", raising=False)
        else:
            monkeypatch.setenv("SFUMATO_COMPILE_CACHE", chosen)
        assert cache.directory() is None
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", "cache")
    assert cache.directory() == Path("cache")


def test_what_was_unused_for_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in "abc"]
    for age, path in enumerate(paths):
        cache.write(path, bytes(1000))
        os.utime(path, (age, age))
    assert cache.read(paths[0]) == bytes(1000)  # so it is used
    monkeypatch.setattr(cache, "MOST", 3500)
    cache.write(tmp_path / "d", bytes(1000))
    assert [path.name for path in entries(tmp_path)] == ["a", "c", "d"]


def test_two_processes_may_share_it(tmp_path: Path, folder: Path) -> None:
    script = """
        import numpy as np
        from sfumato import programs, runtime
        x = np.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)
        program = runtime.compile(programs.to_pixels, [], True)
        assert np.asarray(program(x))[0, 0] == 0
        print(program.traces)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "SFUMATO_COMPILE_CACHE": str(tmp_path)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    outputs = [process.communicate()[0] for process in [start(), start()]]
    assert set(outputs) <= {"0\n", "1\n"}
    assert len(entries(folder)) == 1
    assert start().communicate()[0] == "0\n"
    assert traces() == 0
