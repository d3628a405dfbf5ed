"""What a client asks for in OpenAI's words, as a request."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sfumato.pictures import files
from sfumato.request import Request, RequestError
from sfumato.request.fields import specs
from sfumato.server import sdcpp, wire
from sfumato.server.jobs import Job
from sfumato.server.service import Service

SPELLINGS = {
    "cfg_scale": "guidance",
    "guidance_scale": "guidance",
    "true_cfg_scale": "guidance",
    "n": "count",
    "num_inference_steps": "steps",
    "rng_seed": "seed",
    "sampler_name": "sampler",
    "scheduler": "schedule",
    "step": "steps",
}
"""What OpenAI and other servers call our fields."""

OTHERS = re.compile(r"(dall-e|gpt-image|chatgpt-image).*")
"""Names of models that clients say because they must say one."""
FORMATS = ("png", "jpeg", "webp")


class Order:
    """What a client asks for in OpenAI's words.

    Args:
        given: the fields.
        service: paints.
        begins: the field of the picture to begin from; "": there is none.
    """

    def __init__(self, given: Mapping[str, Any], service: Service, begins: str = "") -> None:
        open_ = (None, "", "auto")  # what clients say of what they leave to us
        words = {"prompt", "negative_prompt"}
        self.given = {k: v for k, v in given.items() if k in words or v not in open_}
        self.service, self.begins = service, begins
        self.format = self.one_of("output_format", FORMATS, "png")
        self.as_url = self.one_of("response_format", ("b64_json", "url"), "b64_json") == "url"
        self.compression = self.number("output_compression", 0, 100, 95) or 1
        self.stream = self.given.get("stream") in (True, "true", "True", "1")
        self.partials = self.number("partial_images", 0, 3, 0)

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.given.get(name, default)
        if value not in choices:
            raise RequestError.of(name, f"be one of {', '.join(choices)}", value)
        return value

    def number(self, name: str, least: int, most: int, default: int) -> int:
        value = str(self.given.get(name, default))
        if not re.fullmatch(r"\d{1,3}", value) or not least <= int(value) <= most:
            raise RequestError.of(name, f"be a whole number from {least} to {most}", value)
        return int(value)

    # To a request

    def submit(self, client: str) -> Job:
        """The job of this order."""
        self.service.check_room()

        def prepare(job: Job) -> None:
            job.partials = self.partials if self.stream else 0

        return self.service.submit(self.request(), client, self.model(), prepare)

    def model(self) -> str | None:
        """The served model that is meant; None: the default."""
        name = self.given.get("model")
        if not isinstance(name, str):
            return None
        try:
            return self.service.models.find(name)
        except RequestError:
            if OTHERS.fullmatch(name):
                return None
            raise

    def request(self) -> Request:
        """The request."""
        known = specs(Request)
        values: dict[str, Any] = {}
        for key, value in self.given.items():
            name = SPELLINGS.get(key, key)
            if name in known and name not in ("model", "image", "mask"):
                is_text = known[name].kind.schema().get("type") == "string"
                values[name] = value if is_text else unquoted(value)
        values["prompt"], said = sdcpp.said_in(values.get("prompt"))
        pictures = self.pictures() if self.begins else {}
        sides = self.size(pictures)
        return wire.request_of(values | sides | said, self.service, **pictures)

    def size(self, pictures: dict[str, Any]) -> dict[str, Any]:
        """Width and height: those asked for; or those of a picture, as large as the model paints.

        A picture is cut to them.
        """
        size = self.given.get("size")
        if size is not None:
            found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(size))
            if not found:
                raise RequestError.of("size", "be auto or such as 512x768", size)
            sides = {"width": int(found[1]), "height": int(found[2])}
        elif pictures and "width" not in self.given:
            model = self.service.models.find(self.model())
            sides = wire.sides_like(pictures["image"], self.service, model)
        else:
            sides = {}
        is_cut = pictures and "resize" not in self.given and "inpaint_area" not in self.given
        return sides | ({"resize": "crop"} if is_cut else {})

    def pictures(self) -> dict[str, Any]:
        """The picture to begin from, and the mask: white is painted, as OpenAI's transparent."""
        sent = self.given.get("image") or self.given.get("images")
        content = self._content("image", sent)
        image = wire.decoded("image", content, self.service)
        mask = self.given.get("mask")
        if mask is None:
            hidden = self._transparent(content, "image")
            return {"image": image} | ({} if hidden is None else {"mask": hidden})
        content = self._content("mask", mask)
        hidden = self._transparent(content, "mask")
        if hidden is None:
            raise RequestError("mask", "be transparent where to paint", "an opaque picture")
        if hidden.shape != image.shape[:2]:
            must = f"have the size of the picture, {image.shape[1]}x{image.shape[0]}"
            raise RequestError("mask", must, f"{hidden.shape[1]}x{hidden.shape[0]}")
        return {"image": image, "mask": hidden}

    def _content(self, name: str, sent: Any) -> bytes:
        """The file of a picture: a form's, or a data URL in JSON."""
        sent = sent if isinstance(sent, list) else [] if sent is None else [sent]
        if len(sent) != 1:
            raise RequestError(name, "be one picture", f"{len(sent)} of them")
        if isinstance(sent[0], bytes):
            return sent[0]
        text = sent[0].get("image_url") if isinstance(sent[0], dict) else sent[0]
        if not isinstance(text, str):
            raise RequestError(name, "be a picture or a data URL", type(text).__name__)
        return wire.from_base64(name, text)

    def _transparent(self, content: bytes, name: str) -> np.ndarray | None:
        """A mask (H, W) of what is transparent, uint8 with 255 for that; None: nothing is."""
        wire.decoded(name, content, self.service)  # its size is checked, and that it is whole
        with files.opened(io.BytesIO(content)) as picture:
            alpha = np.array(picture.convert("RGBA").getchannel("A"))
        return None if alpha.min() == 255 else 255 - alpha


def unquoted(value: Any) -> Any:
    """The value of a form's text; JSON has its own types already."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
