"""Finished frames as a folder of images with the source's names: PNG of 8 or 16 bits, EXR where the source was EXR."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ... import masks
from ...errors import InputError
from ...system.publication import Publication
from ...types import AlphaArray, Box, Frame, PixelArray, VideoInfo
from .. import images, native

_NAME_BYTES = 255  # the longest name that common file systems take


class FolderWriter:
    """Context manager; images go to a folder beside the target that takes its name when complete (see `open_writer`).

    Frames of a video file are numbered from 000000 and turned as a player would show them, since PNG has no such tag.
    """

    def __init__(
        self, path: Path, info: VideoInfo, overwrite: bool = False, publication: Publication | None = None
    ) -> None:
        self.notices: list[str] = []
        self._path, self._info = path, info
        self._names: set[str] = set()
        self._overwrite = overwrite
        self._own_publication = publication is None
        self._publication = publication or Publication()

    def __enter__(self) -> FolderWriter:
        self._temporary = self._publication.temporary(self._path, overwrite=self._overwrite)
        try:
            self._temporary.mkdir()
        except OSError as error:
            self._publication.withdraw(self._temporary)
            raise InputError(f"the output {self._path} cannot be written: {error.strerror or error}") from error
        return self

    def write(self, frame: Frame, filled: PixelArray | None, alpha: AlphaArray | None, box: Box | None = None) -> None:
        """Write one image; outside `alpha` above 0 its samples are the source's (a video's as converted to RGB)."""
        samples = self._samples(frame, filled, alpha, box)
        file = self._temporary / self._name(frame, samples)
        try:
            images.write_image(file, samples)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise InputError(
                    f"no space left for the output {self._path}; free some, or choose another folder"
                ) from error
            raise

    def _samples(
        self, frame: Frame, filled: PixelArray | None, alpha: AlphaArray | None, box: Box | None
    ) -> NDArray[Any]:
        source = frame.native
        samples = source.samples if isinstance(source, images.ImageNative) else self._video_samples(frame)
        if filled is not None and alpha is not None:
            samples = images.blend(samples, filled, alpha, box)
        if self._info.rotation and not isinstance(source, images.ImageNative):
            samples = masks.turn_to_display(samples, self._info.rotation)
        return samples

    def _video_samples(self, frame: Frame) -> NDArray[Any]:
        """RGB, with the alpha plane where the video has one."""
        if not isinstance(frame.native, av.VideoFrame):
            return frame.rgb
        alpha = native.alpha_of(frame.native)
        return frame.rgb if alpha is None else np.dstack([frame.rgb, alpha])

    def _name(self, frame: Frame, samples: NDArray[Any]) -> str:
        suffix = ".exr" if samples.dtype == np.float32 else ".png"
        stem = Path(frame.name).stem if frame.name else f"{frame.index:06d}"
        if (name := _fitting(stem, suffix)) in self._names:  # a.jpg and a.bmp in one folder
            name = _fitting(frame.name, suffix)
        if name in self._names:
            name = _fitting(stem, f"_{frame.index:06d}{suffix}")
        self._names.add(name)
        return name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._publication.withdraw(self._temporary)
        elif self._own_publication:
            self._publication.publish()


def _fitting(stem: str, suffix: str) -> str:
    """A file name that file systems take: the stem is cut to what is left of `_NAME_BYTES`."""
    room = _NAME_BYTES - len(suffix.encode())
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + suffix
