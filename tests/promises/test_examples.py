"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sfumato

SKIP = {"sfumato.__main__"} | {
    f"sfumato.runtime.{name}" for name in ("jax", "tensorflow", "torch", "openvino", "int8")
}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(sfumato.__path__, "sfumato.")
    if module.name not in SKIP
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert failed == 0
