"""Least and most of the numbers in a training configuration: TOML also has nan and inf, and whole numbers of any
length."""

from __future__ import annotations

EVERY = (-1e9, 1e9)
SHARE, POSITIVE, COUNT, SIDE = (0.0, 1.0), (0.0, 1e6), (1.0, 1e9), (1.0, 16384.0)
RANGES = {
    "seed": (0.0, 2.0**31 - 1),
    "log_every": COUNT,
    "save_every_minutes": POSITIVE,
    "sheet_every_minutes": POSITIVE,
    "minutes": (-1e9, 1e7),
    "data.clip_size": SIDE,
    "data.photo_size": SIDE,
    "data.panorama_size": SIDE,
    "data.max_frames": COUNT,
    "data.photo_share": SHARE,
    "data.panorama_share": SHARE,
    "data.scene_share": SHARE,
    "data.source_cap": (0.001, 1.0),
    "data.foreground_share": SHARE,
    "data.reference_reach": (0.0, 1e6),
    "data.max_stride": (1.0, 1000.0),
    **{f"augment.{name}": SHARE for name in ("motion_blur", "shutter", "exposure", "noise", "compression", "zoom")},
    "augment.moving_clips": SHARE,
    "augment.behind_hole": SHARE,
    **{f"holes.{name}": POSITIVE for name in ("blob", "stroke", "box", "caption", "silhouette", "max_speed")},
    "holes.still_share": SHARE,
    "holes.second_share": SHARE,
    **{
        f"loss.{name}": POSITIVE
        for name in ("hole", "valid", "flow", "flow_in_hole", "squared", "steady", "adversarial")
    },
    "loss.discriminator_warmup": (0.0, 1e9),
    "optimizer.learning_rate": (0.0, 1000.0),
    "optimizer.matrix_factor": POSITIVE,
    "optimizer.betas": (0.0, 0.999999),
    "optimizer.discriminator_betas": (0.0, 0.999999),
    "optimizer.discriminator_factor": POSITIVE,
    "optimizer.warmup_steps": (0.0, 1e9),
    "optimizer.final_factor": SHARE,
    "optimizer.step_at": SHARE,
    "optimizer.clip_norm": POSITIVE,
    "optimizer.ema": SHARE,
    "optimizer.max_skipped": (0.0, 1e9),
    "speed.batches_per_draw": (-1e9, 10_000.0),
    "validation.frames": COUNT,
    "validation.size": SIDE,
    "validation.every_minutes": POSITIVE,
    "validation.max_references": (0.0, 1000.0),
    "phase.share": (-1e9, 1e6),
    "phase.size": (-1e9, 16384.0),
    "phase.batch": (-1e9, 65536.0),
    "phase.local": (-1e9, 1000.0),
    "phase.reference": (-1e9, 1000.0),
    "phase.rate_factor": POSITIVE,
}
"""By the key's place in the file. Where the least is -1e9, `config._check` says more of what is too small."""
