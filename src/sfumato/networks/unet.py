"""The denoiser: a U-Net whose levels attend to the text (Rombach et al. 2021, arXiv 2112.10752)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.configs import UNetConfig
from sfumato.networks.denoiser import Aids, Conditioning, Prediction
from sfumato.networks.descent import Descent, UNetLevel, Walk, summed
from sfumato.networks.layers import Conv3x3, activate, group_norm, repeated
from sfumato.networks.merging import TokenMerging
from sfumato.networks.perturbation import Perturbation


@keras.saving.register_keras_serializable("sfumato")
class UNet(Descent):
    """latents, time and text -> the prediction of the model (epsilon, v or x0), channels last.

    While denoising, ``prepare`` runs once per prompt and ``predict`` at every evaluation. ``call``
    takes everything at once.
    """

    config: UNetConfig

    def compose(self, config: UNetConfig) -> None:
        super().compose(config)
        self.up_blocks = self.levels_of("up")
        self.conv_norm_out = group_norm(config.channels[0], config.groups, 1e-5)
        self.conv_out = Conv3x3(config.channels[0], config.out_channels)

    def levels(self) -> list[UNetLevel]:
        """All levels in the order in which the data passes them."""
        return [*super().levels(), *self.up_blocks]

    def token_merging(self, ratio: float, height: int, width: int) -> TokenMerging:
        """Token merging for latents of this size, where most tokens attend to one another."""
        for down, up in zip(self.config.down, self.config.up[::-1], strict=True):
            if any(down + up):
                break
            height, width = -(-height // 2), -(-width // 2)
        return TokenMerging(ratio, height, width)

    def predict(
        self,
        x: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        aids: Aids = Aids(),  # noqa: B008  it is frozen
        *,
        keep: bool = False,
        token_merging: float = 0.0,
    ) -> Prediction:
        """Predict what the noise hides.

        Args:
            x: latents (B, h, w, C), scaled for the network. Questions about x that differ in the
                text alone are the conditioning's (n B, ...): they are one until they meet it.
            timestep: () of the training, or its sinusoids (B or 1, C).
            conditioning: of ``prepare``.
            aids: the inputs of a network for inpainting (mask and known latents) or editing
                (latents of the picture), the guidance for one that takes it, the residuals of
                ControlNets, the factors of FreeU, and the deep features of an earlier evaluation
                (Ma et al. 2023, arXiv 2312.00858): the deep part is then left out.
            keep: give out the deep features.
            token_merging: the part of the tokens that are merged where self-attention has the most.
        """
        shifts = self.embed_time(timestep, conditioning.added, aids.guidance)
        memories = conditioning.memories
        merging = self.token_merging(token_merging, *x.shape[1:3]) if token_merging else None
        *_, last = self.up_blocks[-1]

        # In
        if aids.channels is not None:
            x = ops.concatenate([repeated(x, aids.channels), aids.channels], axis=-1)
        first = self.conv_in(x)  # (B, h, w, C)

        # Down, middle and up, unless that is known
        deep = aids.deep
        if deep is None:
            walk = Walk(shifts, memories, merging, aids.freeu)
            deep = self.deep_part(first, walk, conditioning.attending, aids)

        # Out
        if aids.residuals is not None:
            first = summed(first, aids.residuals.skips[0])
        count = len(last[1].transformer_blocks) if last[1] else 0
        walk = Walk(shifts[-1:], memories[len(memories) - count :], merging, aids.freeu)
        x = walk(walk.joined(deep, first, len(self.up_blocks) - 1), *last)
        answer = self.conv_out(activate(self.conv_norm_out, x))  # (n B, h, w, C)
        return Prediction(answer, deep if keep else None)

    def deep_part(self, first: Tensor, walk: Walk, attending: Tensor | None, aids: Aids) -> Tensor:
        """All but the outermost layers: (B, h, w, C) of ``conv_in`` -> (n B, h, w, C)."""
        # Down and middle
        residuals, features = aids.residuals, aids.features or []
        x, skips = self.down(first, walk, features)
        around = None if attending is None else Perturbation(attending)
        x = x if attending is None else repeated(x, attending)
        x = self.middle(x, walk, around)
        for feature in features[len(self.down_blocks) :]:  # XL's last
            x = summed(x, feature)
        if residuals is not None:
            skips = [summed(s, r) for s, r in zip(skips, residuals.skips, strict=True)]
            x = summed(x, residuals.middle)

        # Up, without the last block
        for i, level in enumerate(self.up_blocks):
            for block in level.blocks[: -1 if level is self.up_blocks[-1] else None]:
                x = walk(walk.joined(x, skips.pop(), i), *block)
            for upsample in level.upsamplers:
                x = upsample(x, skips[-1])
        return x

    def call(self, inputs: Any) -> Tensor:
        """Predict from everything at once, for training and for use of the network by itself.

        Args:
            inputs: a dict or a list of ``latent`` (B, h, w, C), ``timestep_embedding`` (B, C),
                ``context`` (B, T, C) and, for XL, ``added`` (B, A).
        """
        if isinstance(inputs, dict):
            names = ("latent", "timestep_embedding", "context", "added")
            inputs = [inputs[name] for name in names if name in inputs]
        latent, waves, context, *added = inputs
        conditioning = Conditioning(self.prepare(context).memories, *added)
        return self.predict(latent, waves, conditioning).answer
