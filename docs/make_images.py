"""The pictures of algorithm.md, prompts.md, guidance.md and others, by the library itself.

    python docs/make_images.py                 with the bundled model
    python docs/make_images.py prompts         those of one page
    python docs/make_images.py --preset NAME   with another one

Run it again when the bundled model changes. The pictures of the guides come from make_guide.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sfumato  # before Keras, so that it may choose the backend
import numpy as np
from keras import ops
from matplotlib.figure import Figure
from sfumato.diffusion import (
    find_schedule,
    guide,
    latent_noise,
    sample,
    scalings,
    sigma_to_timestep,
    training_sigmas,
)
from sfumato.networks.layers import timestep_embedding
from sfumato.pictures.canvas import RESIZES, resized
from sfumato.visualization import plot_gallery

IMAGES = Path(__file__).resolve().parent / "images"
PROMPT = "a red apple"
SEED = 5
DPI = 72


class Studio:
    """A model, and what the pictures have in common."""

    def __init__(self, preset: str) -> None:
        self.model = sfumato.load(preset)
        self.training = training_sigmas(**self.model.model.noise)
        config = self.model.decoder.config
        h, w = (
            size // config.downsampling for size in (self.model.img_height, self.model.img_width)
        )
        self.noise = latent_noise(SEED, h, w, config.latent_channels)[None]

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """latents (N, h, w, C) -> pictures (N, H, W, 3) of -1..1."""
        return np.concatenate([self.model.decoder.predict_on_batch(x[None]) for x in latents])

    def paint(self, prompt: str = PROMPT, **fields: Any) -> np.ndarray:
        return self.model.generate(prompt, **{"seed": SEED, **fields})[0].pixels

    def denoiser(self, prompt: str, scale: float) -> Callable[[np.ndarray, float], np.ndarray]:
        """`denoise(x, sigma)` of a prompt, which asks the network once for each text."""
        unet, contexts = self.model.diffusion_model, self.model.encode_text([prompt, ""])

        def ask(x: np.ndarray, sigma: float, context: np.ndarray) -> np.ndarray:
            timestep = np.array([sigma_to_timestep(self.training, sigma)])
            waves = timestep_embedding(timestep, unet.config.channels[0])
            inputs = {"latent": x, "timestep_embedding": waves, "context": context[None]}
            return ops.convert_to_numpy(unet.predict_on_batch(inputs))

        def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
            c_skip, c_out, c_in = scalings(self.model.model.prediction, sigma)
            y = guide(*(ask(c_in * x, sigma, context) for context in contexts), scale)
            return c_skip * x + c_out * y

        return denoise


def visible(x: np.ndarray, sigma: float) -> np.ndarray:
    """Noisy latents at the scale of clean ones, as the network sees them."""
    return x / np.sqrt(1.0 + sigma**2)


def latents(studio: Studio) -> Figure:
    """A picture, four channels of its latents, and what the decoder makes of them."""
    picture = studio.paint()
    encoded = studio.model.image_encoder.predict_on_batch(picture[None] / 127.5 - 1.0)
    channels = [stretch(encoded[0, :, :, i]) for i in range(4)]
    back = np.clip(studio.decode(encoded)[0] * 127.5 + 127.5, 0, 255).astype("uint8")
    titles = ["picture", *(f"channel {i + 1}" for i in range(4)), "decoded"]
    return gallery([picture, *channels, back], titles)


def noise(studio: Studio) -> Figure:
    """The way into the noise."""
    picture = studio.paint()
    clean = studio.model.image_encoder.predict_on_batch(picture[None] / 127.5 - 1.0)
    levels = [0.0, 0.3, 1.0, 2.0, 5.0, float(min(studio.training[-1], 14.6))]
    noisy = [visible(clean + level * studio.noise, level)[0] for level in levels]
    return gallery(studio.decode(np.stack(noisy)), [f"sigma = {level:.1f}" for level in levels])


def steps(studio: Studio) -> Figure:
    """The way out: the noisy latents above, the network's guess below."""
    sigmas = find_schedule("trailing")(studio.training, 16)
    denoise, seen, guesses = studio.denoiser("a heart", 1.0), [], []

    def watched(x: np.ndarray, sigma: float) -> np.ndarray:
        seen.append(visible(x, sigma)[0])
        guesses.append(denoise(x, sigma)[0])
        return guesses[-1]

    sample("euler", sigmas, watched, studio.noise * sigmas[0], training=studio.training)
    chosen = [0, 1, 2, 4, 6, 9, 12, 15]
    shown = [row[i] for row in (seen, guesses) for i in chosen]
    titles = [f"step {i + 1}" for i in chosen] + [""] * len(chosen)
    return gallery(studio.decode(np.stack(shown)), titles, rows=2)


def words(studio: Studio) -> Figure:
    """One noise, several prompts."""
    prompts = [
        "a red apple",
        "a green apple",
        "a red car",
        "a cartoon of a red car",
        "a red car on a blue background",
    ]
    titles = [prompt.replace("on a blue", "on a blue\n") for prompt in prompts]
    return gallery([studio.paint(prompt) for prompt in prompts], titles, scale=2.4)


def guidance(studio: Studio) -> Figure:
    """Too little, enough, too much."""
    prompts, scales = ("a car", "a green frog"), (1.0, 2.0, 3.0, 5.0, 8.0, 15.0)
    pictures = [studio.paint(prompt, guidance=scale) for prompt in prompts for scale in scales]
    titles = [f"guidance {scale:g}" for scale in scales] + [""] * len(scales)
    return gallery(pictures, titles, rows=2)


def samplers(studio: Studio) -> Figure:
    """What few steps do to a first and a second order method: how far they are from many steps."""

    def paint(name: str, count: int) -> np.ndarray:
        return studio.paint(sampler=name, schedule="ays", steps=count)

    names, counts = ("euler", "dpmpp_2m"), (2, 4, 8, 16, 32)
    settled = paint("heun", 100).astype(float)
    pictures = [paint(name, count) for name in names for count in counts]
    off = [np.abs(picture - settled).mean() for picture in pictures]
    titles = [f"{n} steps: {d:.1f}" for n, d in zip(counts * len(names), off, strict=True)]
    figure = gallery(pictures, titles, rows=2, scale=2.0)
    for axes in figure.axes[len(counts) :]:  # lower, for the titles of the second row
        left, bottom, width, height = axes.get_position().bounds
        axes.set_position((left, bottom - 0.05, width, height))
    for axes, label in zip(figure.axes[:: len(counts)], ("Euler", "DPM++ 2M"), strict=True):
        axes.text(-0.08, 0.5, label, rotation=90, va="center", ha="right", transform=axes.transAxes)
    return figure


def schedules(studio: Studio) -> Figure:
    """Noise levels of ten steps, for the noise that Stable Diffusion was trained with."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for name in ("uniform", "karras", "exponential", "ays"):
        schedule = find_schedule(name)
        axes.plot(schedule(training_sigmas(), 10)[:-1], "o-", markersize=3, label=schedule.label)
    axes.set(xlabel="step", ylabel="sigma", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def embedding(studio: Studio) -> Figure:
    """The timestep as the network sees it."""
    waves = ops.convert_to_numpy(timestep_embedding(np.arange(0.0, 1000.0, 4.0), 320))
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(waves, aspect="auto", cmap="RdBu", extent=(0, 320, 1000, 0))
    axes.set(xlabel="place in the vector: cosines, then sines", ylabel="timestep")
    return figure


def weights(studio: Studio) -> Figure:
    """Some words, weaker and stronger."""
    strengths = (0, 0.5, 1, 1.5, 2, 2.5)
    prompts = [f"a heart (on a blue background:{weight})" for weight in strengths]
    pictures = [studio.paint(prompt, seed=20) for prompt in prompts]
    return gallery(pictures, [f"(...:{weight})" for weight in strengths])


def changes(studio: Studio) -> Figure:
    """Words that change on the way, earlier and later."""
    prompts = [f"[a lemon:a red heart:{when}]" for when in (0, 4, 8, 12, 14, 20)]
    pictures = [studio.paint(prompt) for prompt in prompts]
    return gallery(pictures, [f"after step {prompt.split(':')[-1][:-1]}" for prompt in prompts])


def joined(studio: Studio) -> Figure:
    """Two prompts in one picture."""
    strengths = (0, 0.5, 0.75, 1, 1.5, 2)
    prompts = [f"a sunflower AND a butterfly:{weight}" for weight in strengths]
    titles = [f"butterfly:{weight}" for weight in strengths]
    return gallery([studio.paint(prompt) for prompt in prompts], titles)


def drawn(studio: Studio) -> Figure:
    """One template, six seeds."""
    template = "a {red|green|blue|yellow} {apple|balloon|star|heart}"
    pictures = studio.model.generate(template, seed=0, count=6)
    titles = [f"seed {picture.request.seed}" for picture in pictures]
    return gallery([picture.pixels for picture in pictures], titles)


def masked(studio: Studio) -> Figure:
    """The right half of a picture, painted again."""
    apple = studio.paint("a red apple")
    mask = np.zeros(apple.shape[:2])
    mask[:, mask.shape[1] // 2 :] = 1
    green = "a green apple"
    painted = [studio.paint(green, image=apple, mask=mask, mask_blur=blur) for blur in (0, 4)]
    shown = np.repeat(255 * mask[..., None], 3, axis=-1).astype("uint8")
    titles = ["image", "mask", "painted", "mask_blur=4"]
    return gallery([apple, shown, *painted], titles)


def extended(studio: Studio) -> Figure:
    """A picture that goes on at its sides."""
    landscape = "a green tree on a blue background"
    tree = studio.paint(landscape)
    side = tree.shape[0] // 2
    sides = {"left": side, "right": side}
    wide = studio.paint(landscape, image=tree, extend=sides, mask_blur=3)
    room = np.full((tree.shape[0], side, 3), 255, "uint8")
    return gallery([np.concatenate([room, tree, room], 1), wide], ["image", "extended"], scale=2.4)


def resizes(studio: Studio) -> Figure:
    """A wide picture in a square."""
    wide = np.concatenate([studio.paint("a yellow lemon"), studio.paint("a red heart")], axis=1)
    H, W = wide.shape[:2]
    room = ((0, 0), ((W - H) // 2, (W - H) // 2), (0, 0))
    squares = [np.pad(resized(wide, (H, H), mode), room, constant_values=255) for mode in RESIZES]
    return gallery([wide, *squares], ["image", *RESIZES])


def grid(studio: Studio) -> Figure:
    """Two fields, and every combination of their values."""
    values = {"steps": (2, 4, 8, 20), "guidance": (1, 2, 5)}
    sheet = sfumato.compare(studio.model, PROMPT, values, seed=SEED).sheet()
    return gallery([sheet], [""], scale=9)


def projected(studio: Studio) -> Figure:
    """Strong guidance, as it is and projected."""
    scales = (2, 3, 5, 8, 11, 15)
    pictures = [
        studio.paint("a green frog", guidance=scale, apg=rule)
        for rule in ("off", "on")
        for scale in scales
    ]
    titles = [f"guidance {scale}" for scale in scales] + [""] * len(scales)
    return gallery(pictures, titles, rows=2)


def freeu(studio: Studio) -> Figure:
    """The numbers of 1.x, and gentler ones."""
    prompts = ("a car", "a green frog", "a red apple")
    rules = {"off": "off", "b 1.1": (0.97, 0.8, 1.1, 1.1), "on": "on"}
    pictures = [studio.paint(p, freeu=rule) for p in prompts for rule in rules.values()]
    return gallery(pictures, [f"freeu {name}" for name in rules] * len(prompts))


def upscalers(studio: Studio) -> Figure:
    """A part of a picture, four times as large, by several upscalers."""
    picture = studio.paint("a green pear")[4:36, 2:34]
    names = ("nearest", "bicubic", "lanczos", "esrgan")
    return gallery([sfumato.upscale(picture, 4, name) for name in names], [*names], scale=2.8)


PICTURES = {
    "algorithm": (latents, noise, steps, words, guidance, samplers, schedules, embedding),
    "prompts": (weights, changes, joined, drawn),
    "pictures": (masked, extended, resizes),
    "comparing": (grid,),
    "guidance": (projected, freeu),
    "upscaling": (upscalers,),
}


def stretch(channel: np.ndarray) -> np.ndarray:
    low, high = channel.min(), channel.max()
    return np.repeat(
        (255 * (channel - low) / max(high - low, 1e-9)).astype("uint8")[..., None], 3, -1
    )


def gallery(
    pictures: Sequence[np.ndarray] | np.ndarray,
    titles: list[str],
    rows: int = 1,
    scale: float = 1.6,
) -> Figure:
    """Pictures (N, H, W, 3), uint8 or of -1..1, in rows under their titles."""
    unit = np.asarray(pictures[0]).dtype != np.uint8
    figure = plot_gallery(
        pictures,
        value_range=(-1, 1) if unit else (0, 255),
        rows=rows,
        cols=len(pictures) // rows,
        scale=scale,
        titles=titles,
        show=False,
    )
    assert figure
    for axes in figure.axes:
        small = axes.images[0].get_array().shape[0] < 32
        axes.images[0].set_interpolation("nearest" if small else "bicubic")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", default=[*PICTURES], help="which; default: all")
    parser.add_argument("--preset", default="mini", help="a preset, folder, file or repository")
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where the pictures go")
    arguments = parser.parse_args()
    studio = Studio(arguments.preset)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for page in arguments.pages:
        for draw in PICTURES[page]:
            path = arguments.folder / f"{page}-{draw.__name__}.webp"
            draw(studio).savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.02)
            print(path)


if __name__ == "__main__":
    main()
