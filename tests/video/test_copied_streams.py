"""Sound, subtitles, data and further pictures never lose the output: mended, or left out with a sentence, before the
work."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.video import OutputOptions, check_output, open_reader, open_writer
from e2fgvi_cli.video.writing import trial_mux

from .media import Recipe, make_clip, picture

SIZE = (48, 64)


def copied(source: Path, target: Path, options: OutputOptions = OutputOptions()) -> list[str]:
    """Pass the clip through; the writer's notices."""
    with open_reader(source) as reader, open_writer(target, reader.info, options) as writer:
        for frame in reader:
            writer.write(frame, None, None)
    return list(writer.notices)


def sounds(path: Path) -> list[list[tuple[Fraction, bytes]]]:
    """(time, payload) of the packets of every audio stream. Decoding the pictures proves the file whole."""
    with av.open(str(path)) as container:
        streams = list(container.streams.audio)
        found: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size and packet.dts is not None:
                found[packet.stream_index].append((packet.dts * packet.time_base, bytes(packet)))
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    return list(found.values())


def increases(packets: list[tuple[Fraction, bytes]]) -> bool:
    times = [time for time, _ in packets]
    return all(late > early for early, late in pairwise(times))


def make_sound(path: Path, codec: str, layout: str = "stereo", mangle: Any = None) -> Path:
    """Twelve frames with half a second of sound in `codec`. mangle(number, packet) changes sound packets before they
    are muxed."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        video.codec_context.height, video.codec_context.width = SIZE
        sound = container.add_stream(codec, rate=48_000)
        sound.codec_context.layout = layout
        resampler = av.AudioResampler(format=sound.codec_context.format.name, layout=layout, rate=48_000)
        number = 0

        def put(packets: list[av.Packet]) -> None:
            nonlocal number
            for packet in packets:
                if mangle is not None:
                    packet = mangle(number, packet)
                    packet.stream = sound
                number += 1
                container.mux(packet)

        for index in range(12):
            frame = av.VideoFrame.from_ndarray(picture(index, SIZE), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            wave = np.sin(np.arange(1920) / 20 + index) * 8000
            channels = len(sound.codec_context.layout.channels)
            chunk = av.AudioFrame.from_ndarray(np.repeat(wave.astype(np.int16), channels)[None], "s16", layout)
            chunk.sample_rate, chunk.pts = 48_000, 1920 * index
            for part in resampler.resample(chunk):
                put(sound.encode(part))
        container.mux(video.encode(None))
        put(sound.encode(None))
    return path


def shifted(source: Path, target: Path, milliseconds: dict[int, int]) -> Path:
    """A Matroska file with the time stamps of some sound packets (by number) moved, as no muxer would write them."""
    data, place = bytearray(source.read_bytes()), 0
    for number, (_, payload) in enumerate(sounds(source)[0]):
        place = data.index(payload, place)
        stamp = int.from_bytes(data[place - 3 : place - 1], "big", signed=True) + milliseconds.get(number, 0)
        data[place - 3 : place - 1] = stamp.to_bytes(2, "big", signed=True)
        place += len(payload)
    target.write_bytes(data)
    return target


@pytest.fixture(scope="module")
def aac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sound(tmp_path_factory.mktemp("aac") / "aac.mkv", "aac")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize(
    ("milliseconds", "moved"),
    [
        ({8: -21}, 1),  # as the packet before
        ({8: -43}, 1),  # as the one before that
        ({8: -21, 9: -43, 10: -64}, 3),
        (dict.fromkeys(range(12, 18), -200), 6),
        ({8: 20_000}, 1),
        (dict.fromkeys(range(12, 40), -200), None),  # starts again, to the end
    ],
    ids=["equal", "back", "three under one", "stretch", "ahead", "restart"],
)
def test_wrong_time_stamps_of_sound_are_mended(
    aac: Path, tmp_path: Path, suffix: str, milliseconds: dict[int, int], moved: int | None
) -> None:
    source = shifted(aac, tmp_path / "source.mkv", milliseconds)
    notices = copied(source, tmp_path / f"out{suffix}")
    (before,), (after,) = sounds(aac), sounds(tmp_path / f"out{suffix}")
    assert [payload for _, payload in after] == [payload for _, payload in before]
    if suffix == ".mkv" and set(milliseconds.values()) & {-21, -64}:
        return  # equal stamps are allowed there, and stay
    assert increases(after)
    if suffix != ".avi":  # which counts whole packets
        assert max(abs(new - old) for (old, _), (new, _) in zip(before, after, strict=True)) < Fraction(1, 200)
    number = moved if moved is not None else len(before) - 12
    (notice,) = notices
    assert notice.endswith("moved, because time stamps did not increase")
    assert notice.startswith(f"audio stream 1 (aac): {number} packet")


@pytest.mark.parametrize(("layout", "said"), [("stereo", False), ("4.0", True), ("5.1", True)])
def test_pcm_whose_channels_have_no_places_goes_into_mp4(tmp_path: Path, layout: str, said: bool) -> None:
    source = make_sound(tmp_path / "source.mkv", "pcm_s16le", layout)
    with av.open(str(source)) as container:
        assert container.streams.audio[0].codec_context.layout.name.endswith("channels")
    notices = copied(source, tmp_path / "out.mp4")
    (before,), (after,) = sounds(source), sounds(tmp_path / "out.mp4")
    assert b"".join(payload for _, payload in after) == b"".join(payload for _, payload in before)
    wanted = [f"audio stream 1 (pcm_s16le) names no places for its channels: written as {layout}"]
    assert notices == (wanted if said else [])
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.layout.name == layout


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_sound_of_an_unknown_codec_is_left_out_and_the_rest_stays(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "two.mov", Recipe(languages=("eng", "fra")))
    data = source.read_bytes()
    last = data.rindex(b"mp4a", 0, data.rindex(b"stsd") + 40)  # the second track's sample description
    data = data[:last] + data[last:].replace(b"mp4a", b"apac").replace(b"esds", b"free").replace(b"wave", b"free")
    (tmp_path / "phone.mov").write_bytes(data)
    target = tmp_path / f"out{suffix}"
    muxer = {".mkv": "matroska"}.get(suffix, suffix[1:])
    assert copied(tmp_path / "phone.mov", target) == [
        f"audio stream 2 (unknown codec) does not fit into {muxer}: left out"
    ]
    (before, _), (after,) = sounds(tmp_path / "two.mov"), sounds(target)
    assert [payload for _, payload in after] == [payload for _, payload in before]


def test_one_broken_packet_is_left_out_and_said(tmp_path: Path) -> None:
    def break_fifth(number: int, packet: av.Packet) -> av.Packet:
        if number != 5:
            return packet
        broken = av.Packet(b"\x00" * packet.size)
        broken.pts, broken.dts, broken.time_base, broken.duration = (
            packet.pts,
            packet.dts,
            packet.time_base,
            packet.duration,
        )
        return broken

    source = make_sound(tmp_path / "source.mkv", "eac3", mangle=break_fifth)
    notices = copied(source, tmp_path / "out.mp4")
    (before,), (after,) = sounds(source), sounds(tmp_path / "out.mp4")
    assert [payload for _, payload in after] == [payload for n, (_, payload) in enumerate(before) if n != 5]
    assert notices == ["audio stream 1 (eac3): 1 packet was left out, because the container refused them"]


def test_broken_packets_beyond_the_trial_are_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_mux, "TRIAL_BYTES", 1)
    test_one_broken_packet_is_left_out_and_said(tmp_path)


def test_sound_without_a_packet_is_left_out(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "source.mkv"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.codec_context.height, video.codec_context.width = SIZE
        container.add_stream("ac3", rate=48_000)
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(picture(index, SIZE), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    for name in ("out.mkv", "out.mp4", "out.avi"):
        assert copied(tmp_path / "source.mkv", tmp_path / name) == ["audio stream 1 (ac3) holds no sound: left out"]
        assert sounds(tmp_path / name) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("reordered", [False, True])
def test_second_video_stream_comes_along(tmp_path: Path, suffix: str, reordered: bool) -> None:
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.codec_context.height, stream.codec_context.width = SIZE
        streams[1].codec_context.options = {"bf": "3", "x264-params": "b-adapt=0"} if reordered else {"bf": "0"}
        for index in range(12):
            for number, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(picture(index, SIZE, number), "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert copied(tmp_path / "two.mkv", tmp_path / f"out{suffix}") == []
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=1)]
    assert times == [Fraction(index, 25) for index in range(12)]


def test_sound_that_fits_elsewhere_is_refused_before_the_work_only_if_all_of_it_is_lost(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.mkv"
    with av.open(str(mixed), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.codec_context.height, video.codec_context.width = SIZE
        tracks = [container.add_stream(codec, rate=48_000) for codec in ("libopus", "aac")]
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(picture(index, SIZE), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            for track in tracks:
                chunk = av.AudioFrame.from_ndarray(np.zeros((1, 3840), np.int16), "s16", "stereo")
                chunk.sample_rate, chunk.pts = 48_000, 1920 * index
                container.mux(track.encode(chunk))
        for stream in (video, *tracks):
            container.mux(stream.encode(None))
    assert copied(mixed, tmp_path / "out.webm") == ["audio stream 2 (aac) does not fit into webm: left out"]
    only_aac = make_clip(tmp_path / "aac.mp4", Recipe(languages=("eng",)))
    with open_reader(only_aac) as reader, pytest.raises(UsageError) as caught:
        check_output(tmp_path / "silent.webm", reader.info, OutputOptions())
    assert "does not fit into webm; write .mp4 or" in str(caught.value)


def test_pictures_in_avi_keep_their_order_times_and_rate(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(frames=24))
    for codec in ("h264", "ffv1"):
        assert copied(source, tmp_path / f"{codec}.avi", OutputOptions(codec=codec)) == []
        with av.open(str(tmp_path / f"{codec}.avi")) as container:
            assert container.streams.video[0].average_rate == 25
            times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        assert [time - times[0] for time in times] == [Fraction(index, 25) for index in range(24)]


def test_variable_times_in_avi_are_moved_and_said(tmp_path: Path) -> None:
    ticks = (0, 40, 80, 90, 200, 240, 280, 320, 360, 400)
    source = make_clip(tmp_path / "source.mkv", Recipe(ticks=ticks, time_base=Fraction(1, 1000), options={"bf": "0"}))
    with open_reader(source) as reader:
        rate = reader.info.frame_rate
    notices = copied(source, tmp_path / "out.avi")
    assert notices[0].endswith(f"moved in time: avi has one frame rate, here {rate} a second")
    with av.open(str(tmp_path / "out.avi")) as container:
        times = [packet.dts * packet.time_base for packet in container.demux(video=0) if packet.size]
    assert len(times) == 10
    assert max(abs(time - times[0] - Fraction(tick, 1000)) for time, tick in zip(times, ticks, strict=True)) < Fraction(
        1, 20
    )


@pytest.mark.parametrize(
    ("name", "time_code", "options", "kept"),
    [
        ("film.mov", "01:00:00;02", OutputOptions(), True),
        ("film.mov", "01:00:00;02", OutputOptions(frame_rate=Fraction(25)), False),  # drop frames belong to 29.97
        ("film.mkv", "half past two", OutputOptions(), False),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_time_code_that_the_output_cannot_hold_is_left_out(
    tmp_path: Path, suffix: str, name: str, time_code: str, options: OutputOptions, kept: bool
) -> None:
    metadata = {"timecode": time_code, "title": "Film"}
    source = make_clip(tmp_path / name, Recipe(rate=Fraction(30_000, 1001), metadata=metadata))
    notices = copied(source, tmp_path / f"out{suffix}", options)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.metadata["title"] == "Film"
        assert container.streams.video[0].metadata.get("timecode") == (time_code if kept else None)
        assert sum(1 for _ in container.decode(video=0)) == 12
    left_out = f"{suffix[1:]} does not take the source's time code: left out"
    assert (left_out in notices) == (not kept)
