"""Services with fake painters, stopped when their test ends."""

from __future__ import annotations

from studios import live, open_live, open_studio, studio

__all__ = ["live", "open_live", "open_studio", "studio"]
