"""Programs for PyTorch: eager, or compiled by inductor where that works."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch


class Program:
    def __init__(self, function: Callable[..., Any], jit_compile: bool) -> None:
        self.function = function
        self.run = torch.compile(function, dynamic=False) if jit_compile else function

    @torch.inference_mode()
    def __call__(self, *args: Any) -> Any:
        try:
            return self.run(*args)
        except torch._dynamo.exc.TorchDynamoException as error:  # pyright: ignore
            if self.run is self.function:
                raise
            warnings.warn(
                f"torch.compile cannot compile this program here, so it runs eagerly: {error}",
                stacklevel=2,
            )
            self.run = self.function
            return self.run(*args)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    return Program(function, jit_compile)
