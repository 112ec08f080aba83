"""Holes: what the user gives as a mask, turned into (H, W) uint8 arrays of 0 and 1 (1 = to be filled). Pure.

`options` parses what the command line says, `shapes` draws boxes and polygons, `normalise` makes holes of pictures.
"""

from .normalise import (
    as_levels,
    dilate,
    feather_alpha,
    has_mask_alpha,
    hole_from_levels,
    resize_nearest,
    select_ids,
    turn_to_display,
    turn_to_stored,
)
from .options import Box, Dilation, MaskOptions, Polygon, parse_box, parse_ids, parse_polygon
from .shapes import draw_shapes

__all__ = [
    "Box",
    "Dilation",
    "MaskOptions",
    "Polygon",
    "as_levels",
    "dilate",
    "draw_shapes",
    "feather_alpha",
    "has_mask_alpha",
    "hole_from_levels",
    "parse_box",
    "parse_ids",
    "parse_polygon",
    "resize_nearest",
    "select_ids",
    "turn_to_display",
    "turn_to_stored",
]
