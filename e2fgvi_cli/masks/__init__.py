"""Holes: what the user gives as a mask, turned into (H, W) uint8 arrays of 0 and 1 (1 = to be filled). Pure.

`options` parses what the command line says, `shapes` draws boxes and polygons, `pairing` finds each mask's frame,
`looks` and `reading` decide what the pictures mean, `normalise` and `growth` size and grow the holes.
"""

from .growth import close_gaps, grow
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
from .options import (
    Box,
    Dilation,
    MaskOptions,
    Polygon,
    parse_box,
    parse_boxes,
    parse_ids,
    parse_polygon,
    parse_polygons,
)
from .pairing import Pairing, numbering, pair_with_count, pair_with_frames
from .shapes import draw_shapes

__all__ = [
    "Box",
    "Dilation",
    "MaskOptions",
    "Pairing",
    "Polygon",
    "as_levels",
    "close_gaps",
    "dilate",
    "draw_shapes",
    "feather_alpha",
    "grow",
    "has_mask_alpha",
    "hole_from_levels",
    "numbering",
    "pair_with_count",
    "pair_with_frames",
    "parse_box",
    "parse_boxes",
    "parse_ids",
    "parse_polygon",
    "parse_polygons",
    "resize_nearest",
    "select_ids",
    "turn_to_display",
    "turn_to_stored",
]
