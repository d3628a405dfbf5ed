"""The texts that a picture's file carries: chunks of a PNG, tags and comments of the others."""

from __future__ import annotations

from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

SOFTWARE = "Sfumato"
COMMENT = ExifTags.Base.UserComment
UNICODE = b"UNICODE\0"
_CODES = (UNICODE, b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8)


def texts_of(picture: Image.Image) -> dict[str, str]:
    """All texts that a file carries, by the name of their chunk or tag."""
    exif = picture.getexif()
    tags = {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in exif.items()}
    named = [*tags.items(), *picture.info.items()]
    texts = {str(name): as_meant(text) for name, text in named if isinstance(text, str)}
    # stable-diffusion.cpp has the chunk of a PNG as the comment of a JPEG.
    comment = picture.info.get("comment")
    name, _, text = comment.partition(b"\0") if isinstance(comment, bytes) else (b"", b"", b"")
    if name == b"parameters":
        texts["parameters"] = as_meant(text.strip(b"\0").decode("latin-1"))
    # Fooocus has the comment among the tags of the picture, where it does not belong.
    places = (exif.get_ifd(ExifTags.IFD.Exif), exif)
    comments = [_comment(place[COMMENT], exif) for place in places if place.get(COMMENT)]
    return texts | {"UserComment": next(filter(None, comments), "")}


def _comment(comment: Any, exif: Image.Exif) -> str:
    """The text of a user's comment, which begins with the code of its characters or does not."""
    if isinstance(comment, str):  # as Pillow reads a tag that says that it is ASCII
        comment = comment.encode("latin-1", "replace")
    if not isinstance(comment, bytes):
        return ""
    code, content = comment[:8], comment[8:]
    if code == UNICODE and exif.get(ExifTags.Base.Software) == SOFTWARE:
        return content.decode("utf-16-be", "replace")
    if code == UNICODE and b"\0" in content:  # otherwise it is UTF-8, whatever the code says
        # The standard leaves the byte order open: the one in which more of the text is ASCII.
        texts = [content.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
        return max(texts, key=lambda text: sum(map(str.isascii, text))).removeprefix("\ufeff")
    content = content if code in _CODES else comment
    return as_meant(content.strip(b"\0 ").decode("latin-1"))


def as_meant(text: str) -> str:
    """Text that was read as Latin-1, as its standard says, but is UTF-8, as many write it."""
    if isinstance(text, PngImagePlugin.iTXt):  # this says that it is UTF-8
        return str(text)
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
