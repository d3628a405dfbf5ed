"""Text: from a prompt to the token ids that the text encoders read."""

from __future__ import annotations

from sfumato.text.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
