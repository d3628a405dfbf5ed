"""Counter-based normal noise: the same numbers for the same seed on every backend and device.

The generator is Philox 4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011, doi 10.1145/2063384.2063405). Counters, keys and the Box-Muller transform are laid out as
in CUDA's `torch.randn` for tensors of a picture's size, which is also what A1111 calls the "NV"
generator, so that a seed gives the start noise of those programs.
"""

from __future__ import annotations

import numpy as np

from sfumato._numbers import whole_number

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32 fractional bits
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
# cuRAND holds both factors as float32 and takes the middle of each of the 2**32 intervals, never 0
# or 1.
_UNIT = np.float64(np.float32(2.0**-32))
_TURN = np.float64(np.float32(2.0**-32 * 2.0 * np.pi))


def philox(counter: np.ndarray, key: int) -> np.ndarray:
    """Philox 4x32-10: a bijection of 128-bit counters for each 64-bit key.

    Args:
        counter: uint32 (4, n), one counter a column, least significant word first.
        key: 0 <= key < 2**64.

    Returns:
        uint32 (4, n) of uniformly distributed words.
    """
    counter = np.asarray(counter)
    if counter.dtype != np.uint32 or counter.ndim != 2 or counter.shape[0] != 4:
        raise ValueError(
            "`counter` must be a uint32 array of shape (4, n). "
            f"Received: dtype={counter.dtype}, shape={counter.shape}"
        )
    low, high = _key_words(key, "key")
    a, b, c, d = counter.astype(np.uint64)
    for _ in range(_ROUNDS):
        product_a, product_c = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b = (product_c >> _32) ^ b ^ np.uint64(low), product_c & _LOW
        c, d = (product_a >> _32) ^ d ^ np.uint64(high), product_a & _LOW
        low, high = (low + _KEY_STEPS[0]) & 0xFFFFFFFF, (high + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([a, b, c, d]).astype(np.uint32)


def normal(seed: int, shape: tuple[int, ...], offset: int = 0) -> np.ndarray:
    """Standard normal noise, element i from the counter (offset, 0, i, 0).

    Args:
        seed: 0 <= seed < 2**64, the generator's key.
        shape: shape of the result; elements are numbered in C order.
        offset: which draw: 0 is a picture's start noise, k the k-th draw after it. 0 <= offset <
            2**32.

    Returns:
        float32 array of `shape`.
    """
    _key_words(seed, "seed")
    offset = whole_number("offset", offset, 0, 2**32 - 1)
    count = int(np.prod(shape, dtype=np.int64))
    counter = np.zeros((4, count), np.uint32)
    counter[0] = offset
    counter[2] = np.arange(count, dtype=np.uint32)
    first, second = philox(counter, seed)[:2].astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((first + 0.5) * _UNIT))
    angle = (second + 0.5) * _TURN
    return (radius * np.sin(angle)).astype(np.float32).reshape(shape)


def latent_noise(
    seed: int, height: int, width: int, channels: int = 4, offset: int = 0
) -> np.ndarray:
    """Noise of one picture's latents, float32 (height, width, channels).

    The numbers are drawn in the channels-first order of the programs named above, then transposed.
    `height` and `width` are the latent's: an eighth of the picture's.

    Example:
        >>> [round(float(value), 4) for value in latent_noise(0, 64, 64)[0, :3, 0]]
        [-0.9247, -0.4253, -2.6438]
    """
    return np.ascontiguousarray(normal(seed, (channels, height, width), offset).transpose(1, 2, 0))


def slerp(noise: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Turn the columns of one noise towards those of another on a great circle, as A1111 does.

    Normal noise keeps its variance so; a mean of two would have less. (Shoemake 1985, "Animating
    rotation with quaternion curves".)

    Args:
        noise, other: (h, w, C). A column has h numbers.
        share: of the other, 0..1.

    Returns:
        float32 (h, w, C).
    """
    a, b = noise.astype("float64"), other.astype("float64")
    lengths = [np.linalg.norm(x, axis=0, keepdims=True) for x in (a, b)]
    cosine = np.sum(a * b, axis=0, keepdims=True) / (lengths[0] * lengths[1])  # (1, w, C)
    if cosine.mean() > 0.9995:  # nearly the same: there is no circle between them
        return (a + share * (b - a)).astype("float32")
    angle = np.arccos(cosine.clip(-1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    straight = a + share * (b - a)  # of columns in one line, such as those of one number
    return np.where(np.isfinite(turned), turned, straight).astype("float32")


def placed(noise: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Put noise into the middle of other noise, or its middle where it is larger, as A1111 does.

    Args:
        noise: (n, m, C).
        ground: (h, w, C).

    Returns:
        (h, w, C).
    """
    result = ground.copy()
    into, out = [], []
    for size, own in zip(ground.shape[:2], noise.shape[:2], strict=True):
        margin = (size - own) // 2  # negative, rounded down: of the noise, as much from each end
        length = own + 2 * min(margin, 0)
        into.append(slice(max(margin, 0), max(margin, 0) + length))
        out.append(slice(max(-margin, 0), max(-margin, 0) + length))
    result[into[0], into[1]] = noise[out[0], out[1]]
    return result


def _key_words(key: int, name: str) -> tuple[int, int]:
    key = whole_number(name, key, 0, 2**64 - 1)
    return key & 0xFFFFFFFF, key >> 32
