# Random walks as a script: `python docs/random_walks.py` runs it from top to bottom, offline.
# `docs/make_guide.py` turns it into random_walks.ipynb and random_walks.md.

# %% [markdown]
# # Random walks
#
# A picture of Stable Diffusion depends on two things: the vectors of the prompt and the noise that
# it starts from. Both are arrays, and close arrays give close pictures. So you can *walk*: take
# many small steps through the vectors or through the noise, paint each, and play them one after
# the other.

# %%
import sfumato

from math import cos, pi, sin

import numpy as np
from sfumato.diffusion import latent_noise
from sfumato.pictures import save_animation
from sfumato.visualization import plot_gallery

PRESET = "mini"
BATCH = 8

model = sfumato.load(PRESET)
config = model.decoder.config
shape = (
    model.img_height // config.downsampling,
    model.img_width // config.downsampling,
    config.latent_channels,
)
print("latents:", shape)

# %% [markdown]
# One function paints all walks, `BATCH` pictures at a time. Batches of one size share one compiled
# program, so the lengths of the walks below are multiples of it.


# %%
def paint(encodings, noise, steps=15):
    """Pictures of encodings (N, 77, C) from noise (N, h, w, c)."""
    return np.concatenate(
        [
            model.generate_image(
                encodings[i : i + BATCH],
                batch_size=BATCH,
                num_steps=steps,
                diffusion_noise=noise[i : i + BATCH],
                verbose=False,
            )
            for i in range(0, len(encodings), BATCH)
        ]
    )


def stay(array, count):
    return np.repeat(array[None], count, axis=0)


# %% [markdown]
# ## From one prompt to another
#
# The straight line between two encodings, with the noise held fixed. What is between a lemon and
# a strawberry? Whatever the network makes of vectors that no prompt has.

# %%
count = 2 * BATCH
lemon, strawberry = model.encode_text(["a lemon", "a strawberry"])
noise = latent_noise(1, *shape)
line = np.stack([(1 - t) * lemon + t * strawberry for t in np.linspace(0, 1, count)])
walk = paint(line, stay(noise, count))
print(save_animation("outputs/lemon-to-strawberry.webp", walk, fps=10, rubber_band=True))
plot_gallery(walk[:: count // 8], rows=1, cols=8)

# %% [markdown]
# The picture does not change evenly along the line: it dwells near the prompts and turns over
# quickly in between. More steps there make a smoother film.
#
# ## Between four prompts
#
# Four prompts are the corners of a square; every place in it mixes the four, in proportion to how
# near it is to each.

# %%
side = 4
corners = model.encode_text(["a red heart", "a yellow star", "a green tree", "a blue fish"])
places = [(u, v) for v in np.linspace(0, 1, side) for u in np.linspace(0, 1, side)]
grid = np.stack(
    [
        (1 - u) * (1 - v) * corners[0]
        + u * (1 - v) * corners[1]
        + (1 - u) * v * corners[2]
        + u * v * corners[3]
        for u, v in places
    ]
)
plot_gallery(paint(grid, stay(noise, len(grid))), rows=side, cols=side, scale=1.2)

# %% [markdown]
# ## Round and round through the noise
#
# Now hold the prompt and walk through the noise. A straight line is the wrong way here. The
# network knows noise of variance 1, and the middle between two independent noises has only half
# of it. A picture that starts from too little noise tends to come out pale and empty. The mixture
# `cos(a) x + sin(a) y` has variance 1 at every angle. It is a circle, so the walk ends where it
# began and the film has no seam.

# %%
x, y = latent_noise(2, *shape), latent_noise(3, *shape)
angles = [2 * pi * i / count for i in range(count)]
circle = np.stack([cos(a) * x + sin(a) * y for a in angles])
middle = (x + y) / 2
print(f"variance on the circle: {circle.var(axis=(1, 2, 3)).mean():.2f}")
print(f"variance between x and y: {middle.var():.2f}")

(heart,) = model.encode_text("a heart")
walk = paint(stay(heart, count), circle)
print(save_animation("outputs/hearts.webp", walk, fps=8))
plot_gallery(walk[:: count // 8], rows=1, cols=8)

# %% [markdown]
# ## A stroll around a prompt
#
# The same circle, small, drawn around an encoding: the picture changes in detail and stays what
# it is. `radius` counts standard deviations of the encoding itself. The larger it is, the further
# the walk strays from the prompt.

# %%
(house,) = model.encode_text("a house")
generator = np.random.default_rng(5)
u, v = (generator.standard_normal(house.shape) * house.std() for _ in range(2))
radius = 1.0
stroll = np.stack([house + radius * (cos(a) * u + sin(a) * v) for a in angles]).astype("float32")
walk = paint(stroll, stay(noise, count))
print(save_animation("outputs/stroll.webp", walk, fps=8))
plot_gallery(walk[:: count // 8], rows=1, cols=8)

# %% [markdown]
# ## Both at once
#
# Prompt and noise are independent, so one film can cross from prompt to prompt and back while it
# goes round through the noise.

# %%
cycle = np.stack([lemon + (1 - cos(a)) / 2 * (strawberry - lemon) for a in angles])
walk = paint(cycle, circle)
print(save_animation("outputs/both.webp", walk, fps=8))
plot_gallery(walk[:: count // 8], rows=1, cols=8)

# %% [markdown]
# `save_animation` also writes `.gif`, for places that show nothing better: 256 colours, and
# larger files.
