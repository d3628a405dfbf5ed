"""Pictures: files with their recipe, galleries, previews, animations."""

from __future__ import annotations

from sfumato.pictures.files import encode, load, load_recipe, save, save_animation
from sfumato.pictures.gallery import plot_gallery, plot_image_gallery
from sfumato.pictures.preview import fit_factors, latents_to_rgb
from sfumato.pictures.recipe import Recipe, read_text, write_text
from sfumato.pictures.sheets import contact_sheet, gallery

__all__ = [
    "Recipe",
    "contact_sheet",
    "encode",
    "fit_factors",
    "gallery",
    "latents_to_rgb",
    "load",
    "load_recipe",
    "plot_gallery",
    "plot_image_gallery",
    "read_text",
    "save",
    "save_animation",
    "write_text",
]
