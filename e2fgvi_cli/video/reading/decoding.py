"""Packets to pictures: the decoder a stream needs, and going on behind damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import av

from . import picture_times

# FFmpeg's own decoders of VP8 and VP9 leave out the alpha plane that WebM keeps beside the picture; libvpx has it.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def pictures(container: Any, stream: Any) -> Iterator[av.VideoFrame | None]:
    """Decoded pictures in presentation order; None stands for a packet that could not be decoded."""
    decode = _decoder(stream)
    order = picture_times.StoredOrder(container) if picture_times.lack_order(container, stream) else None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # the container itself breaks off; the clock sees that the end is missing
            return
        if order is not None:
            order.sent(packet)
        try:
            found = decode(packet)
        except av.FFmpegError:
            if order is not None:
                order.lost()
            yield None
            continue
        for picture in found:
            if order is not None:
                order.place(picture)
            yield picture


def lost_alpha(stream: Any) -> bool:
    """Whether a stream has an alpha plane that nothing here decodes."""
    return _marked_alpha(stream) and not _has_decoder(_WITH_ALPHA[stream.codec_context.codec.canonical_name])


def _decoder(stream: Any) -> Callable[[Any], list[Any]]:
    if not stream.codec_context.is_open:
        stream.thread_type = "AUTO"
    if not _marked_alpha(stream) or lost_alpha(stream):
        return lambda packet: packet.decode()
    context: Any = av.CodecContext.create(_WITH_ALPHA[stream.codec_context.codec.canonical_name], "r")
    return lambda packet: context.decode(packet if packet.size else None)


def _marked_alpha(stream: Any) -> bool:
    context = stream.codec_context
    return (
        context is not None
        and context.codec.canonical_name in _WITH_ALPHA
        and stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
    )


def _has_decoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True
