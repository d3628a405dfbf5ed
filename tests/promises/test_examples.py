"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sfumato

# Of one backend each, which may not be imported with another's.
ENGINES = {"jax", "tensorflow", "torch", "openvino"}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(sfumato.__path__, "sfumato.")
    if not {*module.name.split(".")} & {*ENGINES, "__main__"}
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert failed == 0
