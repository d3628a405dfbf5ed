"""The agreement between the denoising loop and any network that it may run."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from sfumato.kernels import Tensor


class Memory(NamedTuple):
    """Something that a cross-attention layer attends to: the text, or a picture."""

    keys: Tensor  # (B, T, N, D)
    values: Tensor  # (B, T, N, D), times the weight of the memory


class Conditioning(NamedTuple):
    """The part of a network's input that stays the same at all evaluations of a picture.

    The batch has the prompts of B pictures, and with guidance as many negative prompts behind them.
    Where AND joins n prompts for each picture, all that are the first come first, and so on. With
    perturbed attention the prompts stand there twice, the second time for it.
    """

    memories: list[list[Memory]]  # of each cross-attention layer
    added: Tensor | None = None  # XL: pooled text and sizes (B, A)
    shares: Tensor | None = None  # (n, B): the weights of n prompts; None: there is one
    attending: Tensor | None = None  # (B, 1, 1): 0 where attention is perturbed; None: nowhere

    @property
    def batch(self) -> int:
        known = self.memories[0][0].keys if self.memories else self.added
        return 1 if known is None else known.shape[0]

    def of_prompts(self, count: int) -> Conditioning:
        """The first ``count`` of the batch: the prompts without the negative prompts."""

        def first(memory: Memory) -> Memory:
            return Memory(memory.keys[:count], memory.values[:count])

        memories = [[first(memory) for memory in layer] for layer in self.memories]
        return Conditioning(memories, None if self.added is None else self.added[:count])


class Projection(NamedTuple):
    """The settings of projected guidance, and the direction of guidance over the evaluations."""

    settings: Tensor  # (3,): eta, momentum, norm threshold
    average: Tensor  # (B, h, w, C), zeros at first


class Residuals(NamedTuple):
    """What ControlNets add to the way through the U."""

    skips: list[Tensor]  # (n B, h, w, C) for each skip connection, that of ``conv_in`` first
    middle: Tensor  # (n B, h, w, C)


class Aids(NamedTuple):
    """The arrays that help at one evaluation; None is an aid that is absent."""

    deep: Tensor | None = None  # (B, h, w, C): the deep part's features of an earlier evaluation
    channels: Tensor | None = None  # (B or n B, h, w, D): what the network sees besides latents
    guidance: Tensor | None = None  # (), less 1, for networks that take it as an input
    residuals: Residuals | None = None  # of ControlNets
    features: list[Tensor] | None = None  # (1, B or n B, h, w, C), of T2I-Adapters
    freeu: Tensor | None = None  # (4,): s1, s2, b1, b2 of FreeU
    projection: Projection | None = None  # for the rule of guidance; no network reads it


class Prediction(NamedTuple):
    """The answer of a network, and what may be kept of it for a later evaluation."""

    answer: Tensor  # (B, h, w, C): epsilon, v or x0
    deep: Tensor | None


@runtime_checkable
class Denoiser(Protocol):
    """A network that the loop can run: a U-Net, or later a transformer."""

    @property
    def takes_sizes(self) -> bool:
        """Whether ``prepare`` takes pooled text and sizes, as XL's does."""
        ...

    def prepare(
        self, context: Tensor, pooled: Tensor | None = None, sizes: Tensor | None = None
    ) -> Conditioning:
        """Do once what is the same at all evaluations.

        Args:
            context: (B, T, C) of the text encoders.
            pooled: (B, P) of the text encoders, for networks that take it.
            sizes: (B, 6) of the picture in pixels, for networks that take them.
        """
        ...

    def predict(
        self,
        x: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        aids: Aids = ...,
        **ways: Any,
    ) -> Prediction:
        """Predict what the noise hides.

        Args:
            x: (B, h, w, C), scaled for the network; its batch may be half of the conditioning's.
            timestep: () of the training, float32.
            conditioning: of ``prepare``.
            aids: what helps at this evaluation.
            ways: settings of the network that are compiled in, such as ``token_merging``.
        """
        ...
