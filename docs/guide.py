# The guide as a script: `python docs/guide.py` runs it from top to bottom, offline.
# `docs/make_guide.py` turns it into guide.ipynb and guide.md.

# %% [markdown]
# # Pictures from words
#
# Sfumato is Stable Diffusion for Keras 3. You write what you want to see, and it answers with a
# picture. This guide makes a first picture in three lines and asks for something harder. Then it
# looks inside, and at the end it measures what compilation and mixed precision are worth on your
# machine.
#
# Everything here runs offline. It uses `mini`, a small model that is part of the package. `mini`
# draws 127 things, 64 pixels wide, in six styles, from "3d render" to "pixel art". It is made like
# its large relatives and answers to the same calls. To run this guide with one of them, change one
# word: `PRESET = "sd1.5"` (which is fetched once, about 2 GB, and wants a GPU).

# %% [markdown]
# ## Setup
#
#     pip install ".[plot]"
#
# in the folder of Sfumato's source. Import Sfumato before Keras, because Keras settles on a backend
# when it is first imported. If you have chosen none, Sfumato chooses OpenVINO where there is only a
# CPU (on Linux and Windows with x86-64) and JAX elsewhere ([Backends](backends.md)). Importing
# Sfumato loads nothing else yet.
#
# This guide runs on both. Its comparison of speed needs JAX or TensorFlow: start it with
# `KERAS_BACKEND=jax` to see that, too.

# %%
import sfumato

import os
import time

import keras
import numpy as np
from sfumato.visualization import plot_gallery

PRESET = "mini"
print(f"Sfumato {sfumato.__version__}, Keras {keras.__version__} on {keras.backend.backend()}")

# %% [markdown]
# ## A first picture

# %%
model = sfumato.load(PRESET)
pictures = model.generate("a red apple", count=3)
print(len(pictures), "pictures of", pictures[0].pixels.shape, pictures[0].pixels.dtype)
plot_gallery(pictures, rows=1, cols=3)

# %% [markdown]
# `generate` returns a list of pictures. `picture.pixels` is a NumPy array, `picture.to_pil()` a
# picture of Pillow's, and `picture.save("apple.png")` writes a file. As the last line of a
# notebook's cell, `pictures[0]` shows itself.
#
# The first call took a while, because it compiled its programs for pictures of this size and
# number. They are kept on disk, so the next process starts faster. They know nothing of what is
# painted: another prompt, number of steps, sampler or guidance runs what is compiled already.

# %%
start = time.perf_counter()
pictures = model.generate("a sunflower", count=3)
print(f"{time.perf_counter() - start:.2f} seconds for three pictures")
plot_gallery(pictures, rows=1, cols=3)

# %% [markdown]
# ## A harder prompt
#
# Add what the picture should look like. Large models know materials, light, painters and lenses;
# `mini` knows colours, backgrounds and six styles. It was shown balloons of many colours and
# purple things of many kinds, but a purple balloon was kept from it.

# %%
prompt = "a 3d render of a purple balloon on a green background"
pictures = model.generate(prompt, count=3, seed=7)
plot_gallery(pictures, rows=1, cols=3)

# %% [markdown]
# `seed` makes a picture repeatable. Picture *i* of a batch starts from the noise of `seed + i`
# and of nothing else, so the second picture above can be asked for alone. The noise comes from a
# counter-based generator. It is the same on every backend and device, and no global random state
# is read or changed.

# %%
again = model.generate(prompt, seed=8)[0]
difference = np.abs(again.pixels.astype(int) - pictures[1].pixels)
print(f"alone and in the batch: {difference.max()} levels of 255 apart at most")

# %% [markdown]
# A `negative_prompt` says what to stay away from. Above, hearts of any colour; below, from the same
# noise, hearts that keep away from red.

# %%
hearts = model.generate("a heart", count=3, seed=20)
others = model.generate("a heart", negative_prompt="a red heart", count=3, seed=20)
plot_gallery([*hearts, *others], rows=2, cols=3)

# %% [markdown]
# ## One request
#
# What you ask for is one value, a `Request`. Its fields have the same names in Python, on the
# command line and in JSON: `prompt`, `steps`, `guidance`, `sampler`, `width`, `height`, `seed` and
# so on. You may write the fields in the call, as above, or make the request yourself:

# %%
request = sfumato.Request(prompt="a cartoon of an orange cat", steps=12, seed=3)
picture = model.generate(request)[0]
print(request.to_json())
print(picture.request)

# %% [markdown]
# What you leave open, the model fills in: its own steps, guidance, sampler and size, and a seed.
# `picture.request` is the completed request, so it makes the picture again. Requests can be
# compared, they do not change, and fields in the call come before the request's own:

# %%
prompts = ["a cat", "a cartoon of an orange cat", "a cat on a blue background"]
pictures = [model.generate(request, prompt=prompt)[0] for prompt in prompts]
plot_gallery(pictures, rows=1, cols=3, titles=["plain", "cartoon, orange", "on blue"])

# %% [markdown]
# One loaded model makes pictures of every size: `width` and `height` belong to the request. (`mini`
# has learnt 64 x 64 pixels only, so this guide stays there.)
#
# ## How does it work?
#
# Imagine a network that takes the noise out of a spoilt photograph. It has seen millions of
# pictures, so where the noise hides a detail, it paints one that is likely. Now give it *nothing
# but* noise. It cannot find a picture, but it will make a guess at one: a blur of likely colours.
# Take a step towards the guess, keep the rest of the noise, and ask again. With every step there
# is more for the network to go by, and the picture condenses out of the noise.
#
# `model.stream` shows it. It takes what `generate` takes and yields each step, then each picture.
# `step.latents()` is the picture as the network guesses it at that moment. The prompt leaves the
# colour open, so at first the network cannot know it either, and guesses a mixture:

# %%
guesses = []
for made in model.stream("a heart", steps=16, seed=5):
    if isinstance(made, sfumato.Step):
        guesses.append(made.latents())
    else:
        picture = made
chosen = [0, 2, 4, 6, 9, 15]
images = model.decoder.predict_on_batch(np.concatenate([guesses[i] for i in chosen]))
plot_gallery(images, value_range=(-1, 1), rows=1, cols=6, titles=[f"step {i + 1}" for i in chosen])

# %% [markdown]
# Everything that happens while a picture is made is a loop around this stream: a progress bar
# (`made.step` of `made.steps`), an animation, or a stop, since leaving the loop cancels the rest.
# `made.preview()` makes a picture as small as the latents, without the decoder. It needs to know
# the colours of the model's latents, and is `None` where it does not.
#
# Four parts work together:
#
# 1. **The text encoder** turns the prompt into a row of vectors, one for each of 77 tokens.
# 2. **The denoiser**, a U-Net, sees a noisy picture and those vectors, and says what it takes for
#    noise. It *attends* to the text: every position of the picture looks up which words concern
#    it (cross-attention), again and again at several sizes.
# 3. **The sampler** decides how much of that noise to remove in each step. [There are
#    many](samplers.md); `sampler=` and `schedule=` choose one.
# 4. **The decoder** makes pixels. All of the above happens not on pixels but on *latents*: a map
#    an eighth as high and wide, in which an autoencoder has packed what matters. That is the
#    "latent" in latent diffusion, and it is why all this runs on one computer.

# %%
encoded = model.encode_text("a red apple")
print("tokens   ", model.tokenizer.encode("a red apple"))
print("text     ", encoded.shape, "one vector for each of the 77 places")
print("latents  ", guesses[-1].shape[1:], "where the denoising happens")
print("picture  ", picture.pixels.shape, "what the decoder makes of them")

# %% [markdown]
# One more thing happens in every step. The network is asked twice, once with your prompt and once
# with the negative one (or with an empty one). The difference between the two answers points
# towards what the prompt adds, and the step exaggerates it. This is *classifier-free guidance*,
# and `guidance` says by how much: 1 does not exaggerate at all.

# %%
scales = [1.0, 2.0, 4.0, 7.5]
pictures = [model.generate("a red apple", seed=5, guidance=scale)[0] for scale in scales]
plot_gallery(pictures, rows=1, cols=4, titles=[f"guidance {scale:g}" for scale in scales])

# %% [markdown]
# [The algorithm](algorithm.md) tells the same story with its formulas, and with the whole loop in
# thirty lines that you can run.

# %% [markdown]
# ## As in KerasCV
#
# The methods of `keras_cv.models.StableDiffusion` are there, with their names, arguments and
# results: arrays instead of pictures, and a progress bar. `text_to_image` also takes a list of
# prompts, and every other field of a request as a keyword.

# %%
images = model.text_to_image("a red apple", batch_size=3, num_steps=20, sampler="euler_a")
print(images.shape, images.dtype)

# %% [markdown]
# ## Perks of Keras
#
# The networks are ordinary Keras models: `model.text_encoder`, `model.diffusion_model`,
# `model.decoder`, `model.image_encoder`. They are loaded when first touched. You can look at
# them, save and load their weights, train them with `fit`, or `quantize("int8")` one before the
# first picture.

# %%
for network in (model.text_encoder, model.diffusion_model, model.decoder):
    print(f"{network.name:13} {network.count_params():12,} parameters")
model.diffusion_model.summary()

# %% [markdown]
# Two switches make pictures faster where the hardware has what they need.
#
# **Mixed precision** computes in 16 bits and keeps the weights in 32. GPUs and TPUs have units
# for 16-bit matrices that are many times as fast as their 32-bit ones. Say so before the model is
# made, as everywhere in Keras:

# %%
keras.mixed_precision.set_global_policy("mixed_float16")
model = sfumato.load(PRESET)
print("computes in", model.diffusion_model.compute_dtype)
print("keeps its weights in", model.diffusion_model.variable_dtype)
keras.mixed_precision.set_global_policy("float32")

# %% [markdown]
# (`load(PRESET, dtype="mixed_float16")` does the same for one model alone; `dtype="bfloat16"` keeps
# the weights in 16 bits as well.)
#
# **XLA compilation** (`jit_compile=True`, the default) turns each program, with all its layers,
# into one executable. XLA sees the whole of it: it fuses what need not be written to memory in
# between, and nothing waits for Python. `jit_compile=False` runs without: in graph mode on
# TensorFlow, one operation after the other on JAX and PyTorch. That is slow but easy to look
# into.
#
# On OpenVINO neither switch does anything for speed: it always compiles, and always computes in
# float32. [Its own is int8](openvino.md#int8).
#
# ## What are they worth?
#
# Let us measure the four combinations on this machine: three pictures in one batch, after a call
# that warms up. The two without XLA may take a minute for that, since JAX then compiles every kind
# of operation by itself. (On OpenVINO the four compute the same, and their times say nothing.)

# %%
STEPS = 10
rows = []


def benchmark(name, policy, jit_compile):
    model = sfumato.load(PRESET, dtype=policy, jit_compile=jit_compile)
    request = sfumato.Request(prompt="a blue balloon", count=3, steps=STEPS, seed=1)
    start = time.perf_counter()
    model.generate(request)
    first = time.perf_counter() - start
    start = time.perf_counter()
    pictures = model.generate(request)
    rows.append((name, first, time.perf_counter() - start))
    return pictures[0]


pictures = [
    benchmark("Standard", "float32", jit_compile=False),
    benchmark("Mixed precision", "mixed_float16", jit_compile=False),
    benchmark("XLA", "float32", jit_compile=True),
    benchmark("XLA + mixed precision", "mixed_float16", jit_compile=True),
]
plot_gallery(pictures, rows=1, cols=4, titles=[name for name, _, _ in rows])

# %%
device = str(getattr(keras.ops.ones(()), "device", "cpu"))  # OpenVINO: always the CPU
where = f"{keras.backend.backend()} on {device}, {os.cpu_count()} CPU cores"
print(f"{PRESET}, 3 pictures, {STEPS} steps; {where}\n")
print(f"{'':22} {'first call':>12} {'next call':>12}")
for name, first, after in rows:
    print(f"{name:22} {first:10.2f} s {after:10.2f} s")
standard = rows[0][2]
fastest, _, seconds = min(rows, key=lambda row: row[2])
print(f"\nFastest here: {fastest}, {standard / seconds:.1f} times as fast as Standard.")

# %% [markdown]
# The table is this machine's; its first line says where it ran. (If you read this as a page: that
# machine was busy with other work, too. Your own run says more.) The first call includes loading
# and compiling, or reading from disk what was compiled before: with JAX, XLA's program is that of
# the first pictures above. To read the rest, it helps to know:
#
# - A GPU is what both switches are made for: its fastest units multiply 16-bit matrices, and XLA
#   keeps them fed. Run the script on yours to see what that comes to.
# - On a CPU, mixed precision is often *slower* than float32. Few CPUs calculate with 16-bit floats;
#   the others widen every number before an operation and narrow it after.
# - With a small model, what counts is mostly what it costs to *start* an operation. That is what
#   XLA saves, so its share is larger here than with a large one.
#
# The pictures differ a little between precisions; float32 is the one that agrees from backend to
# backend.
#
# ## Putting it together
#
# On a GPU this is the whole recipe for speed; on a CPU leave out the policy. `save` writes the
# picture with its recipe. `sfumato info FILE` prints the recipe, and `sfumato generate --from FILE`
# makes the picture again.

# %%
policy = "float32" if "cpu" in device.lower() else "mixed_float16"
model = sfumato.load(PRESET, dtype=policy, jit_compile=True)
pictures = model.generate(
    "a cartoon of a green frog on a pink background",
    count=3,
    steps=20,
    guidance=3.0,
    sampler="euler_a",
    seed=11,
)
print(pictures[0].save("outputs/frog.png"))
plot_gallery(pictures, rows=1, cols=3)

# %% [markdown]
# ## From a picture
#
# With `image=`, the model does not begin with noise alone but with a picture under noise.
# `strength` is the part of the steps that are done. With few of them much of the picture stays,
# with all of them next to nothing. Here an apple becomes a pear:

# %%
apple = model.generate("a red apple", seed=5)[0].pixels
strengths = [0.1, 0.2, 0.3, 0.6]
pears = [
    model.generate("a green pear", image=apple, strength=strength, seed=5)[0]
    for strength in strengths
]
titles = ["the picture", *(f"strength {strength:g}" for strength in strengths)]
plot_gallery([apple, *pears], rows=1, cols=5, titles=titles)

# %% [markdown]
# With `mask=` as well, the model repaints where the mask is 1, here the right half. Everywhere else
# the result is the given picture, to the last bit.

# %%
height, width = apple.shape[:2]
mask = np.zeros((height, width))
mask[:, width // 2 :] = 1
painted = model.generate("a green apple", image=apple, mask=mask, seed=5)[0]
kept = np.abs(painted.pixels.astype(int) - apple)[mask == 0]
print(f"outside the mask: {kept.max()} levels of 255 apart")
titles = ["the picture", "the mask", "painted"]
plot_gallery([apple, 255 * mask, painted], rows=1, cols=3, titles=titles)

# %% [markdown]
# `extend=` paints on beyond the edges. `mask_blur=` softens the seam, so that a few pixels of the
# given picture near it are painted again, too.

# %%
tree = model.generate("a green tree on a blue background", seed=5)[0]
sides = {"left": 32, "right": 32}
wide = model.generate(tree.request.prompt, image=tree.pixels, extend=sides, mask_blur=3, seed=5)[0]
plot_gallery([wide], rows=1, cols=1, titles=["a tree in the middle"])

# %% [markdown]
# `image` and `mask` may also be files, and the command line has both: `--image FILE --mask FILE`.
# `image_to_image` and `inpaint` do the same with arrays. [From pictures](pictures.md) has the rest:
# pictures of other sizes, small things in large pictures, whole folders.
#
# ## Words with weights
#
# A prompt has a grammar, that of A1111's web UI. `(red:1.5)` is a stronger red, `(red:0.5)` a
# weaker one. Here the background is weaker and stronger than usual. `mini` has read few prompts and
# spreads each over all its words, so weights say less to it than to a large model.

# %%
weights = [0, 1, 2]
hearts = [
    model.generate(f"a heart (on a blue background:{weight})", seed=20)[0] for weight in weights
]
plot_gallery(hearts, rows=1, cols=3, titles=[f"weight {weight}" for weight in weights])

# %% [markdown]
# `AND` joins two prompts in one picture, each with a weight of its own:

# %%
prompts = ["a sunflower AND a butterfly:0.5", "a sunflower AND a butterfly", "a butterfly"]
pictures = [model.generate(prompt, seed=7)[0] for prompt in prompts]
plot_gallery(pictures, rows=1, cols=3, titles=[p.replace(" AND", "\nAND") for p in prompts])

# %% [markdown]
# Words may change on the way, `[a lemon:a heart:0.6]`, and a seed may draw some of them. The words
# that were drawn are in the picture's request, and in its recipe. `explain` shows what the model
# reads at which step:

# %%
pictures = model.generate("a {red|green|blue|yellow} {apple|balloon|star}", seed=2, count=4)
plot_gallery(pictures, rows=1, cols=4, titles=[picture.request.prompt for picture in pictures])
print(model.explain("[a lemon:a (red:1.3) heart:0.6]", guidance=1))

# %% [markdown]
# [Prompts](prompts.md) has the whole grammar.
#
# ## Random walks
#
# `text_to_image` is two calls, and you can put yourself in between: `encode_text` gives vectors,
# `generate_image` paints vectors. What lies between two prompts can be painted as well as the
# prompts themselves. With the noise held fixed, one thing turns into the other:

# %%
from sfumato.pictures import save_animation

apple, balloon = model.encode_text(["a red apple", "a blue balloon"])
path = np.stack([(1 - t) * apple + t * balloon for t in np.linspace(0, 1, 12)])
noise = np.random.default_rng(4).standard_normal(guesses[-1].shape[1:])
frames = [
    model.generate_image(path[i : i + 3], batch_size=3, diffusion_noise=noise, verbose=False)
    for i in range(0, len(path), 3)
]
frames = np.concatenate(frames)
print(save_animation("outputs/apple-to-balloon.webp", frames, fps=8, rubber_band=True))

# %% [markdown]
# [Random walks](random_walks.md) goes on from here: walks between four prompts, and walks through
# the noise.
#
# ## Where to go next
#
# - [Prompts](prompts.md): weights, long prompts, words that change or are drawn
# - [The algorithm](algorithm.md): how Stable Diffusion works, in depth
# - [Samplers and schedules](samplers.md): every name, what it costs and where it comes from
# - [Coming from KerasCV](migrating.md): what stays and what is better
# - [Training](training.md): the denoiser on your own pictures
# - [The command line](command-line.md): pictures without Python
