"""What the page's server answers, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError

from .. import factories
from .asking import BOX, CLIP, Finding, Moving, finished, follow, numbers, png, put
from .conftest import make_clip

pytest.importorskip("starlette", reason="the extra [ui] is not installed")
pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
pytest.importorskip("httpx2", reason="the extra [dev] is not installed")

from starlette.testclient import TestClient

from e2fgvi_cli.ui.project import apply_marks, load, open_folder
from e2fgvi_cli.ui.server import Site, build


@pytest.mark.parametrize("path", ["/", "/api/clips", "/tokem/", "/token2/api/clips", "//"])
def test_without_the_token_there_is_one_sentence(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (
        403,
        "Open the whole address that `e2fgvi ui` printed: this one lacks its token.",
    )


def test_another_host_name_is_refused(client: TestClient) -> None:
    assert client.get("/token/", headers={"host": "evil.example:80"}).status_code == 403
    assert client.get("/token/", headers={"host": "127.0.0.1:80"}).status_code == 200


def test_the_page_names_nothing_of_elsewhere(client: TestClient) -> None:
    for name in ("", "main.js", "stage.js", "server.js", "strings.js", "style.css"):
        answer = client.get(f"/token/{name}")
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("// ", "")
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")


@pytest.mark.parametrize(
    "path",
    [
        "/token/..%2f..%2fserver.py",
        "/token/%2e%2e/server.py",
        "/token/api/clip/..%2f..%2fetc%2fpasswd",
        "/token/api/clip/secret.txt/before/0",
        "/token/api/clip/%2e%2e/before/0",
    ],
)
def test_no_path_leads_out_of_the_folder(client: TestClient, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    answer = client.get(path)
    assert answer.status_code in (400, 403, 404)
    assert not any(word in answer.text for word in ("secret\n", "root:", "import"))


def test_a_link_out_of_the_folder_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in" / "one.mp4", 2)
    make_clip(tmp_path / "other.mp4", 2)
    os.symlink(tmp_path / "other.mp4", tmp_path / "in" / "two.mp4")
    assert [project.name for project in open_folder(tmp_path / "in")[1]] == ["one.mp4"]


def test_a_project_folder_that_leads_out_is_refused(tmp_path: Path) -> None:
    os.symlink(tmp_path, tmp_path / "one.mp4.e2fgvi")
    with pytest.raises(InputError, match="is a link to elsewhere: remove the link"):
        load(tmp_path / "one.mp4", tmp_path / "one.mp4.e2fgvi")


def test_a_box_is_kept_and_found_again(client: TestClient, site: Site) -> None:
    assert put(client, 0, 0, BOX).json()["marks"] == {"1": {"0": "box"}}
    again = TestClient(build(Site(site.folder / "a clip.mp4"), "token")).get(CLIP).json()
    assert (again["given"], again["revision"], again["tracked"]) == ({"1": {"0": {"box": [5, 14, 20, 20]}}}, 1, False)
    mask = cv2.imdecode(np.frombuffer(client.get(f"{CLIP}/mask/0").content, np.uint8), cv2.IMREAD_GRAYSCALE)
    wanted = np.zeros((48, 64), np.uint8)
    wanted[18:30, 8:20] = 255
    assert ((mask > 0) != (wanted > 0)).sum() <= 24


def test_a_drawn_mask_comes_back_as_it_was(client: TestClient) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[3:9, 4:30] = 1
    state = put(client, 7, 0, png(mask)).json()
    assert state["marks"] == {"1": {"7": "mask"}}
    assert "--keyframe 7=" in state["commands"]["track"].replace("'", "")
    assert client.get(f"{CLIP}/mask/7").content[:4] == b"\x89PNG"
    shown = cv2.imdecode(np.frombuffer(client.get(f"{CLIP}/mask/7").content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (shown == mask).all()
    gone = client.delete(f"{CLIP}/mark/7", headers={"x-revision": "1"})
    assert gone.json()["marks"] == {}


def test_points_are_kept_and_what_is_no_point_is_refused(client: TestClient) -> None:
    state = put(client, 0, 0, {"points": [[14, 24, True]]}).json()
    assert state["given"] == {"1": {"0": {"points": [[14.0, 24.0, True]]}}}
    assert " --point +14,24@0 " in state["commands"]["track"]
    mask = cv2.imdecode(np.frombuffer(client.get(f"{CLIP}/mask/0").content, np.uint8), cv2.IMREAD_GRAYSCALE) > 0
    assert mask[20:28, 10:18].all()
    assert mask.sum() < 300
    beside = put(client, 1, 1, {"points": [[64, 1, True]]}).json()["error"]
    assert beside == "the point 64,1 is not in the frame of 64x48: click in the picture"
    nothing = put(client, 1, 1, {"points": [[4, 1, False]]}).json()["error"]
    assert nothing == "nothing is marked in this frame: click on the object first"


def test_a_second_window_does_not_write_over_the_first(client: TestClient) -> None:
    assert put(client, 0, 0, BOX).status_code == 200
    late = put(client, 1, 0, BOX)
    assert late.status_code == 409
    assert late.json()["error"] == "another window changed a clip.mp4: this one now shows the latest; try again"
    assert client.get(CLIP).json()["marks"] == {"1": {"0": "box"}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nothing", "the mask that was sent is no PNG: reload the page and draw it again"),
        (png(np.zeros((8, 9), np.uint8)), "the mask has 9x8 pixels, the frame 64x48: reload the page"),
        ({"box": [100, 0, 5, 5]}, "--box 100,0,5,5 does not lie in the frame of 64x48; give x,y,width,height in it"),
    ],
    ids=["no-png", "size", "outside"],
)
def test_what_cannot_be_a_mark_is_refused(client: TestClient, content: object, sentence: str) -> None:
    answer = put(client, 0, 0, content)
    assert (answer.status_code, answer.json()["error"]) == (400, sentence)


def test_steps_in_the_wrong_order_say_what_is_missing(client: TestClient) -> None:
    track, fill = client.post(f"{CLIP}/start/track"), client.post(f"{CLIP}/start/fill")
    assert track.json()["error"] == "nothing is marked yet: draw a box around the object in any frame"
    assert fill.json()["error"] == "there are no masks yet: mark the object and track it first"
    assert client.post("/token/api/batch").json()["error"] == "no clip has masks yet: mark and track at least one"


@pytest.mark.slow
def test_following_a_cancelled_fill_and_the_list(
    client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(client, monkeypatch)
    state = client.get(CLIP).json()
    assert (state["tracked"], state["stale"], state["confidence"]) == (True, False, [1.0] + [0.9] * 11)
    # A fill that is cancelled, as its page is closed, leaves nothing under the output's name.
    assert client.post(f"{CLIP}/start/fill").status_code == 200
    second = client.post(f"{CLIP}/start/fill")
    assert second.status_code == 409
    assert second.json()["error"] == "a clip.mp4 is being worked on (fill): wait for it or cancel it"
    client.post("/token/api/cancel")
    assert finished(client)["state"] == "cancelled"
    project = site.projects["a clip.mp4"]
    assert not project.output.exists()
    # The list is one that `batch` takes, and a stranger's is not written over.
    answer = client.post("/token/api/batch").json()
    assert answer["clips"] == 1
    text = (site.folder / "clips.csv").read_text().splitlines()
    kept = "a clip.mp4.e2fgvi"
    assert text == ["# overwrite: true", "video,mask,output", f"a clip.mp4,{kept}/masks,{kept}/clean.mp4"]
    (site.folder / "clips.csv").write_text("mine")
    assert "is not of this page: rename it" in client.post("/token/api/batch").json()["error"]
    assert (site.folder / "clips.csv").read_text() == "mine"


def test_a_box_means_what_follows_it_and_then_what_was_followed(
    client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from e2fgvi_cli.mask_tools import engines

    monkeypatch.setattr(engines, "build_engine", lambda *_, **__: SimpleNamespace(make=Finding))
    put(client, 2, 0, {"box": [10, 10, 20, 20]})
    assert np.argwhere(numbers(client, 2)).min(axis=0).tolist() == [20, 10]
    assert client.post(f"{CLIP}/start/track").status_code == 200
    assert finished(client)["state"] == "done"
    project = site.projects["a clip.mp4"]
    followed = np.roll(numbers(client, 2), -3, axis=0)
    cv2.imwrite(str(project.masks / "000002.png"), followed * 255)
    project.adopt_followed()
    assert (numbers(client, 2) == followed).all()
    assert client.get(CLIP).json()["given"] == {"1": {"2": {"box": [10, 10, 20, 20]}}}


OTHER = np.zeros((48, 64), np.uint8)
OTHER[36:44, 2:10] = 1


def test_objects_are_followed_apart(client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from e2fgvi_cli.mask_tools import engines

    monkeypatch.setattr(engines, "build_engine", lambda *_, **__: SimpleNamespace(make=Moving))
    put(client, 0, 0, BOX)
    state = put(client, 3, 1, png(OTHER), 2).json()
    assert (state["marks"], state["objects"]) == ({"1": {"0": "box"}, "2": {"3": "mask"}}, [1, 2])
    assert "--box 5,14,20,20@0 --keyframe " in state["commands"]["track"]
    assert "2:3=" in state["commands"]["track"]
    assert state["commands"]["track"].count("_obj2.png") == 1
    assert set(np.unique(numbers(client, 3))) == {0, 2}
    assert client.post(f"{CLIP}/start/track").status_code == 200
    assert finished(client)["state"] == "done"
    state = client.get(CLIP).json()
    assert (state["followed"], state["confidence"][:4]) == ([1, 2], [0.9] * 4)
    shown = numbers(client, 4)
    assert (shown[24, 18], shown[40, 6], shown[2, 2]) == (1, 2, 0)
    written = cv2.imread(str(site.projects["a clip.mp4"].masks / "000004.png"), cv2.IMREAD_UNCHANGED)
    assert (written == shown).all()
    # A mark replaces its own object's mask and leaves the other one; gone, what was followed is there again.
    put(client, 4, state["revision"], png(np.roll(OTHER, 30, axis=1)), 2)
    after = numbers(client, 4)
    assert (after[24, 18], after[40, 6], after[40, 34]) == (1, 0, 2)
    client.delete(f"{CLIP}/mark/4?object=2", headers={"x-revision": str(state["revision"] + 1)})
    assert (numbers(client, 4) == shown).all()
    again = Site(site.folder / "a clip.mp4").projects["a clip.mp4"]
    assert (again.objects, again.marks) == ([1, 2], site.projects["a clip.mp4"].marks)


def test_what_is_drawn_of_objects_counts_in_the_masks(site: Site) -> None:
    """As numbers where several were followed, else as 255: one folder never holds both."""
    project = site.projects["a clip.mp4"]
    project.masks.mkdir(parents=True)
    for several in (False, True):
        cv2.imwrite(str(project.masks / "000000.png"), OTHER * (1 if several else 255))
        project.tracked, project.followed = 0, [1, 2] if several else [1]
        project.mark(2, 0, np.roll(OTHER, 20, axis=1), {"mask": True})
        assert (project.numbers(0) == OTHER + 2 * np.roll(OTHER, 20, axis=1)).all()
        apply_marks(project)
        written = cv2.imread(str(project.masks / "000000.png"), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(written)) == ({0, 1, 2} if several else {0, 255})


@pytest.mark.parametrize("number", ["0", "65", "x", "-1", "1.5"])
def test_what_is_no_object_is_refused(client: TestClient, number: str) -> None:
    answer = client.put(f"{CLIP}/mark/0?object={number}", json=BOX, headers={"x-revision": "0"})
    assert answer.json()["error"] == f"object {number} is no number from 1 to 64: reload the page"


def test_work_of_before_there_were_objects_is_found_again(site: Site) -> None:
    project = site.projects["a clip.mp4"]
    project.mark(1, 3, OTHER, {"mask": True})
    state = json.loads((project.home / "state.json").read_text())
    del state["followed"]
    state |= {"marks": state["marks"]["1"], "look_at": [3, 5], "confidence": [1.0] * 12}
    (project.home / "state.json").write_text(json.dumps(state))
    again = load(project.path, project.home)
    assert (again.marks, again.look_at) == ({1: {3: {"mask": True}}}, [[3, 1], [5, 1]])


@pytest.mark.slow
def test_a_frame_is_tested_from_those_around_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(client, monkeypatch)
    assert client.post(f"{CLIP}/start/test?frame=6").status_code == 200
    assert finished(client)["state"] == "done"
    assert client.get(CLIP).json()["tested"] == [6]
    data = np.frombuffer(client.get(f"{CLIP}/test/6").content, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    red = picture[20:28, 22:30].reshape(-1, 3).mean(axis=0)  # where the square was, in BGR
    assert picture.shape == (48, 64, 3)
    assert red[2] - red[0] < 60


def test_a_folder_of_frames_is_a_clip(tmp_path: Path) -> None:
    folder = factories.write_folder(tmp_path / "shots", factories.clip(3, 48, 64))
    site = Site(folder, device="cpu")
    client = TestClient(build(site, "token"), raise_server_exceptions=False)
    assert client.get("/token/api/clips").json()["clips"] == [{"name": "shots", "tracked": False}]
    state = client.put("/token/api/clip/shots/mark/2", json=BOX, headers={"x-revision": "0"}).json()
    assert (state["frames"], state["marks"]) == (3, {"1": {"2": "box"}})
    picture = client.get("/token/api/clip/shots/before/2").content
    shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(shown.astype(int) - factories.clip(3, 48, 64)[2]).mean() < 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shots", "shots.e2fgvi"]
    site.close()


def test_commands_and_the_list_say_the_device_and_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "one.mp4", 2)
    (tmp_path / "mine.pth").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path / "one.mp4", device="cpu", weights="mine.pth")
    client = TestClient(build(site, "token"), raise_server_exceptions=False)
    said = client.get("/token/api/clip/one.mp4").json()["commands"]
    assert all(command.endswith(" --weights mine.pth --device cpu") for command in said.values())
    site.projects["one.mp4"].tracked = 0
    assert client.post("/token/api/batch").json()["command"] == "e2fgvi batch clips.csv --device cpu"
    rows = (tmp_path / "clips.csv").read_text().splitlines()[1:]
    assert rows[0] == "video,mask,output,weights"
    assert rows[1].endswith(f",{tmp_path.resolve() / 'mine.pth'}")
    site.close()


def test_damaged_state_is_said_and_kept(tmp_path: Path) -> None:
    home = tmp_path / "one.mp4.e2fgvi"
    home.mkdir()
    (home / "state.json").write_text(json.dumps({"revision": 3}))
    with pytest.raises(InputError, match=r"state\.json cannot be read: move it away to begin anew"):
        load(tmp_path / "one.mp4", home)
    assert (home / "state.json").exists()
