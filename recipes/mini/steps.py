"""The backend's part of a training: JAX's on an accelerator, PyTorch's on a CPU.

Both keep the same checkpoints, so each goes on with what the other has trained.
"""

from __future__ import annotations

import keras

if keras.backend.backend() == "torch":
    from recipes.mini.torch_steps import Random, compiled, inferring, insert, precision, tensor
else:
    from recipes.mini.jax_steps import Random, compiled, inferring, insert, precision, tensor

__all__ = ["Random", "compiled", "inferring", "insert", "precision", "tensor"]
