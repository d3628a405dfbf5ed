"""Sfumato, on the Keras backend of the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import benchmarks.peers.common as common


class Runner(common.Runner):
    waiting: Any = None  # a result of the last program that was sent

    def load_libraries(self) -> None:
        import sfumato

        self.StableDiffusion = sfumato.StableDiffusion
        if os.environ.get("SFUMATO_FUSED_NORMS") == "1":
            from benchmarks import fused_norms

            fused_norms.install()

    def load_model(self) -> None:
        """Only the object: the networks are loaded when they are first needed."""
        c = self.case
        self.model = self.StableDiffusion(
            c.size, c.size, c.jit_compile, preset=c.folder, dtype=c.dtype
        )

    def make_pictures(self) -> Any:
        c = self.case
        return self.model.text_to_image(
            common.PROMPT, batch_size=c.batch, num_steps=c.steps, seed=1, verbose=False
        )

    def prepare_step(self) -> Callable[[], None]:
        return self.prepare_evaluation()

    def evaluation(self, **way: Any) -> float:
        """Seconds of an evaluation of this kind, behind another for which it may be compiled."""
        evaluate = self.prepare_evaluation(**way)
        self._time(evaluate)
        return self._time(evaluate)

    def prepare_evaluation(
        self, guided: bool = True, shallow: bool = False, token_merging: float = 0.0
    ) -> Callable[[], None]:
        """One evaluation by the program that the loop runs, with inputs that it would have."""
        program = self.model.parts.evaluate
        inputs = self.inputs(self.case.steps, guided, shallow)
        ways = {"token_merging": token_merging} if token_merging else {}

        def step() -> None:
            self.waiting = program(*inputs, **ways).is_finite

        return step

    def prepare_loop(self, steps: int) -> Callable[[], None]:
        """All steps of a picture in one program, which Sfumato does not do."""
        from keras import ops

        from sfumato import programs

        def run(unet: Any, state: Any, *rest: Any) -> Any:
            def body(_: Any, carried: Any) -> Any:
                state, finite = carried
                found = programs.evaluate(unet, state, *rest)
                return found.state, ops.logical_and(finite, found.is_finite)

            return ops.fori_loop(0, steps, body, (state, ops.ones((), "bool")))

        parts = self.model.parts
        program, inputs = parts.compile(run, parts.diffusion_model), self.inputs(steps)

        def loop() -> None:
            self.waiting = program(*inputs)[1]

        return loop

    def prepare_placed(self, steps: int) -> Callable[[], None]:
        """The step with every weight laid out in memory as XLA's kernels want it, which Sfumato
        does not do. (cuDNN wants another order of a convolution's kernel than Keras has, so XLA
        turns them all at every step.)"""
        import jax
        from jax.experimental.layout import Format, Layout

        program, inputs = self.model.parts.evaluate, self.inputs(self.case.steps)
        others = [None] * len(inputs)
        run = jax.jit(program.pure, in_shardings=(Format(Layout.AUTO), *others))
        compiled = run.lower(program.values(), *inputs).compile()
        (formats, *_), _ = compiled.input_formats
        weights = [jax.device_put(*pair) for pair in zip(program.values(), formats, strict=True)]

        def step() -> None:
            self.waiting = compiled(weights, *inputs).is_finite

        def several() -> None:
            for _ in range(steps):
                step()

        return several

    def inputs(self, steps: int, guided: bool = True, shallow: bool = False) -> tuple[Any, ...]:
        """The arguments of ``evaluate`` at the first of ``steps`` steps."""
        from keras import ops, tree

        from sfumato import generation

        c, model, parts = self.case, self.model, self.model.parts
        guidance = {} if guided else {"guidance": 1.0}
        request = model.completed(common.PROMPT, count=c.batch, steps=steps, seed=1, **guidance)
        loop = generation.begin(parts, request.singles())
        conditioning, aids = loop.conditioning(0, guided), loop.aids
        if shallow:
            aids = aids._replace(deep=self.deep_features(conditioning.batch, loop.x.shape))

        state = tree.map_structure(ops.convert_to_tensor, generation.first_state(loop.plan, loop.x))
        table = ops.convert_to_tensor(loop.plan.table(model.model.prediction))
        scale = ops.convert_to_tensor([request.guidance, 0.0], "float32")
        return state, table, ops.zeros(loop.x.shape), scale, conditioning, aids, None

    def deep_features(self, batch: int, latents: tuple[int, ...]) -> Any:
        """Zeros in the place of what the deep part of the network gives."""
        from keras import ops

        unet = self.model.diffusion_model
        _, height, width, _ = latents
        *_, block = (part for part in unet.config.parts() if part.kind == "resnets")
        channels = block.width_in - unet.config.channels[0]
        return ops.zeros((batch, height, width, channels), unet.compute_dtype)

    def spare_memory(self) -> None:
        """Keep as little of convolutions as OpenVINO does where no memory is left."""
        from sfumato.runtime import openvino

        openvino.limit_memory(0)

    def quantize(self, **options: Any) -> None:
        self.model.quantize("int8", **options)

    def draw(self, path: str, prompts: list[str], options: dict[str, Any]) -> None:
        """Write a picture of each prompt, whose seed is its place in the list."""
        import numpy as np

        pictures = [
            self.model.text_to_image(prompt, seed=seed, verbose=False, **options)
            for seed, prompt in enumerate(prompts)
        ]
        np.save(path, np.concatenate(pictures))

    def loras(self, files: list[str]) -> dict[str, float]:
        """Seconds of pictures with and without each of two LoRAs, and of merging them."""
        c, model = self.case, self.model
        one, other = (((file, 1.0),) for file in files)

        def picture(loras: tuple[Any, ...] = ()) -> float:
            options = {"batch_size": c.batch, "num_steps": c.steps, "seed": 1, "verbose": False}
            paint = partial(model.text_to_image, common.PROMPT, loras=loras, **options)
            return self._time(paint)

        def merge(loras: tuple[Any, ...] = ()) -> float:
            return self._time(partial(model.parts.loras.use, loras))

        # In this order: each is what it says because of those before it.
        return {
            "first picture": picture(),
            "picture": picture(),
            "read and merge": merge(one),
            "first picture with a LoRA": picture(one),
            "picture with a LoRA": picture(one),
            "read and merge another": merge(other),
            "first picture with another": picture(other),
            "take out": merge(),
            "first picture without": picture(),
        }

    def watch(self) -> None:
        """Time the programs and, as "load", each network's way from the file to the device."""
        from keras import ops, tree

        import sfumato.checkpoints.model as checkpoints

        clock, parts = self.clock, self.model.parts
        compile = parts.compile

        def wait(program: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **ways: Any) -> Any:
                result = program(*args, **ways)
                last = [x for x in tree.flatten(result) if x is not None][-1]
                ops.convert_to_numpy(last)
                return result

            return run

        names = {"encode_text": "text", "prepare": "condition", "evaluate": "step"}

        def timed(function: Any, network: Any) -> Any:
            name = names.get(function.__name__, function.__name__)
            return clock.wrap(name, wait(compile(function, network)))

        parts.compile = timed
        for name in ("unet", "text_encoder", "text_encoder_2", "decoder"):
            method = getattr(checkpoints.Model, name)
            setattr(checkpoints.Model, name, clock.wrap("load", method))

    def synchronise(self) -> None:
        """Read the last result of the last step, which waits for all before it."""
        from keras import ops

        if self.waiting is not None:
            ops.convert_to_numpy(self.waiting)
            self.waiting = None

    def device_memory(self) -> int | None:
        if os.environ.get("KERAS_BACKEND") != "jax":
            return None
        import jax

        statistics = jax.devices()[0].memory_stats() or {}
        return statistics.get("peak_bytes_in_use")

    def kinds(self) -> dict[str, float]:
        """Seconds of one guided step by kind of layer, each layer timed by itself."""
        from benchmarks.kinds import seconds_by_kind
        from benchmarks.kinds_keras import prepare

        c = self.case
        config = self.model.diffusion_model.config
        latent = c.size // self.model.model.autoencoder_config.downsampling
        of_dtype = partial(prepare, dtype=self.model.parts.dtype_policy)
        return seconds_by_kind(config, latent, 2 * c.batch, of_dtype)
