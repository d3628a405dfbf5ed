"""diffusers on PyTorch: eager, channels_last, compiled, or with its networks in OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import benchmarks.peers.common as common


class Runner(common.Runner):
    def __init__(
        self, channels_last: bool = False, compiled: bool = False, openvino: bool = False
    ) -> None:
        self.channels_last = channels_last
        self.compiled = compiled
        self.openvino = openvino

    def load_libraries(self) -> None:
        import torch
        from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

        self.torch = torch
        self.DiffusionPipeline = DiffusionPipeline
        self.classes = (StableDiffusionPipeline, StableDiffusionXLPipeline)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_grad_enabled(False)
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU, where JAX uses it by itself

    def load_model(self) -> None:
        dtype = getattr(self.torch, self.case.dtype.removeprefix("mixed_"))
        pipe = self.DiffusionPipeline.from_pretrained(
            self.case.folder, dtype=dtype, local_files_only=True
        )
        pipe.set_progress_bar_config(disable=True)
        self.pipe = pipe.to(self.device)
        if self.channels_last:
            pipe.unet.to(memory_format=self.torch.channels_last)
            pipe.vae.to(memory_format=self.torch.channels_last)
        if self.compiled:
            # Trying every kernel takes many minutes on a CPU, and gains nothing over the default.
            mode = "max-autotune" if self.device == "cuda" else "default"
            pipe.unet.compile(mode=mode, fullgraph=True)
            pipe.vae.decode = self.torch.compile(pipe.vae.decode, mode=mode, fullgraph=True)
        if self.openvino:
            self.compile_models()

    def make_pictures(self) -> Any:
        c = self.case
        pictures = self.pipe(
            common.PROMPT,
            height=c.size,
            width=c.size,
            num_images_per_prompt=c.batch,
            num_inference_steps=c.steps,
            guidance_scale=7.5,
            generator=self.torch.Generator(self.device).manual_seed(1),
            output_type="np",
        ).images
        return (pictures * 255).round().astype("uint8")

    def prepare_step(self) -> Callable[[], None]:
        """The body of the pipeline's loop: network, guidance, the sampler's update."""
        torch, pipe, c = self.torch, self.pipe, self.case
        width = c.size // pipe.vae_scale_factor
        x = torch.randn(c.batch, 4, width, width, device=self.device, dtype=pipe.unet.dtype)
        contexts = pipe.encode_prompt(
            common.PROMPT,
            device=self.device,
            num_images_per_prompt=c.batch,
            do_classifier_free_guidance=True,
        )
        if len(contexts) == 4:  # XL
            contexts, negative, pooled, negative_pooled = contexts
            context = torch.cat([negative, contexts])
            sizes = torch.tensor([[c.size, c.size, 0, 0, c.size, c.size]]).to(x)
            added = {
                "text_embeds": torch.cat([negative_pooled, pooled]),
                "time_ids": sizes.repeat(2 * c.batch, 1),
            }
        else:
            context, added = torch.cat([contexts[1], contexts[0]]), None
        scheduler, number = pipe.scheduler, 0

        def step() -> None:
            nonlocal number
            if number % c.steps == 0:  # as the pipeline does before a picture
                scheduler.set_timesteps(c.steps, device=self.device)
            t = scheduler.timesteps[number % c.steps]
            number += 1
            y = scheduler.scale_model_input(torch.cat([x, x]), t)
            y = pipe.unet(
                y,
                t,
                encoder_hidden_states=context,
                added_cond_kwargs=added,
                return_dict=False,
            )[0]
            negative, positive = y.chunk(2)
            y = negative + 7.5 * (positive - negative)
            scheduler.step(y, t, x, return_dict=False)

        return step

    def watch(self) -> None:
        pipe, clock = self.pipe, self.clock
        pipe.text_encoder.forward = clock.wrap("text", pipe.text_encoder.forward)
        pipe.unet.forward = clock.wrap("step", pipe.unet.forward)
        pipe.vae.decode = clock.wrap("decode", pipe.vae.decode)

    def synchronise(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def device_memory(self) -> int | None:
        return self.torch.cuda.max_memory_allocated() if self.device == "cuda" else None

    def kinds(self) -> dict[str, float]:
        """Seconds of one guided step by kind of layer, each layer timed by itself."""
        from benchmarks.kinds import seconds_by_kind
        from benchmarks.kinds_torch import prepare
        from benchmarks.models import MODELS

        c = self.case
        of_dtype = partial(
            prepare,
            dtype=c.dtype.removeprefix("mixed_"),
            device=self.device,
            channels_last=self.channels_last,
        )
        latent = c.size // self.pipe.vae_scale_factor
        return seconds_by_kind(MODELS[c.model].unet, latent, 2 * c.batch, of_dtype)

    # OpenVINO

    def change(self, **case: Any) -> None:
        super().change(**case)
        if self.openvino:
            self.load_model()  # of static shapes

    def compile_models(self) -> None:
        """The denoiser and the decoder as OpenVINO models of static shapes."""
        torch, pipe, c = self.torch, self.pipe, self.case
        width, B = c.size // pipe.vae_scale_factor, 2 * c.batch
        context = torch.zeros(B, 77, pipe.unet.config.cross_attention_dim)
        latents = torch.zeros(B, 4, width, width)
        inputs = [latents, torch.tensor(500.0), context]
        network = pipe.unet
        added = getattr(network.config, "projection_class_embeddings_input_dim", None)
        if added:
            inputs += [torch.zeros(B, added - 6 * 256), torch.zeros(B, 6)]
        run = self.compile_model(Denoiser(torch, network), inputs)
        decode = self.compile_model(Decoder(torch, pipe.vae), [torch.zeros_like(latents[:1])])

        def forward(x: Any, t: Any, encoder_hidden_states: Any, **kwargs: Any) -> Any:
            more = kwargs.get("added_cond_kwargs") or {}
            given = [x, t.float(), encoder_hidden_states, *more.values()]
            return (torch.from_numpy(run([each.numpy() for each in given])[0]),)

        def decode_latents(x: Any, **_: Any) -> Any:
            pictures = [torch.from_numpy(decode([one.numpy()])[0].copy()) for one in x[:, None]]
            return (torch.cat(pictures),)

        network.forward = forward
        pipe.vae.decode = decode_latents

    def compile_model(self, module: Any, inputs: list[Any]) -> Any:
        import openvino as ov

        model = ov.convert_model(
            module.eval(), example_input=tuple(inputs), input=[list(x.shape) for x in inputs]
        )
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        return ov.Core().compile_model(model, "CPU", settings)


def Denoiser(torch: Any, network: Any) -> Any:
    """The network with its inputs in one order, as tracing needs them."""

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any, t: Any, context: Any, pooled: Any = None, sizes: Any = None):
            added = None if pooled is None else {"text_embeds": pooled, "time_ids": sizes}
            return self.network(x, t, context, added_cond_kwargs=added, return_dict=False)[0]

    return Module()


def Decoder(torch: Any, vae: Any) -> Any:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, x: Any):
            return self.vae.decode(x, return_dict=False)[0]

    return Module()
