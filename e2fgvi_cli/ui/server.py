"""The pages and the answers behind them. Every address begins with a random token; without it there is nothing.

The server listens on loopback only and answers only for that name, so that no page of elsewhere can ask through the
browser.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..errors import InputError, UserError
from ..mask_tools.marks import MOST_OBJECTS
from ..mask_tools.seeds import corrected, mask_from_points
from ..types import HoleArray, PixelArray
from .equivalents import chosen, commands, short, write_manifest
from .pictures import LARGEST_MASK, Pictures, jpeg, mask_from_png, png
from .project import ConflictError, Project, open_folder
from .work import Worker

STATIC = Path(__file__).parent / "static"
_HOSTS = ("127.0.0.1", "localhost", "testserver")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Gate:
    """Lets in who names the token and this machine; everybody else reads one sentence."""

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
            given = scope["path"].split("/")[1] if "/" in scope["path"] else ""
            if host not in _HOSTS or not secrets.compare_digest(given.encode(), self._token.encode()):
                sentence = "Open the whole address that `e2fgvi ui` printed: this one lacks its token."
                await PlainTextResponse(sentence, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Site:
    """The opened folder and what may be asked of it."""

    def __init__(self, target: Path, *, device: str = "auto", weights: str = "open") -> None:
        self.folder, projects = open_folder(target)
        self.projects = {project.name: project for project in projects}
        self.pictures = Pictures()
        if len(projects) == 1:
            self.pictures.describe(projects[0].path)  # what is no clip is refused before a page opens
        self.worker = Worker(self.pictures, device, weights)
        self.lock = Lock()

    def close(self) -> None:
        """Cancel what runs and close the clips."""
        self.worker.stop()
        self.pictures.close()

    def project(self, request: Request) -> Project:
        """The clip that is asked for: one of those listed, never a path."""
        name = request.path_params["clip"]
        if name not in self.projects:
            raise InputError(f"there is no clip {name} in {self.folder}")
        return self.projects[name]

    def state(self, project: Project) -> dict[str, Any]:
        """All that a page shows of a clip."""
        kept = ("name", "revision", "confidence", "look_at", "tested", "filled", "objects", "followed")
        marks = {str(number): frames for number, frames in project.marks.items()}
        return {
            **{name: getattr(project, name) for name in kept},
            **self.pictures.describe(project.path),
            "marks": {n: {str(frame): next(iter(mark)) for frame, mark in of.items()} for n, of in marks.items()},
            "given": {n: {str(f): mark for f, mark in of.items() if "mask" not in mark} for n, of in marks.items()},
            "tracked": project.tracked is not None,
            "stale": project.tracked is not None and project.tracked != project.changed,
            "commands": commands(project, chosen(self.worker.device, self.worker.weights)),
            "output": short(project.output),
            "job": self.worker.record(),
        }

    def page(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params.get("file", "index.html")
        file = {file.name: file for file in STATIC.iterdir()}.get(name)
        if file is None or file.suffix not in _TYPES:
            return PlainTextResponse(f"there is no {name}", 404, headers=_HEADERS)
        return FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS)

    def clips(self, request: Request) -> Response:
        """Names of the clips, and whether each has masks."""
        found = [{"name": p.name, "tracked": p.tracked is not None} for p in self.projects.values()]
        return JSONResponse({"clips": found, "folder": str(self.folder)}, headers=_HEADERS)

    def show(self, request: Request) -> Response:
        """The state of a clip."""
        return JSONResponse(self.state(self.project(request)), headers=_HEADERS)

    def frame(self, request: Request) -> Response:
        """A picture: of the clip ("before"), of the filled clip ("after"), of a test, or the numbers of objects in each
        pixel ("mask")."""
        project, index, what = self.project(request), request.path_params["frame"], request.path_params["what"]
        if what == "mask":
            numbers = project.numbers(index)
            if numbers is None:
                raise InputError(f"frame {index} has no mask yet")
            return Response(png(numbers), media_type="image/png", headers=_HEADERS)
        if what == "test" and index in project.tested:
            return Response(project.test_picture(index).read_bytes(), media_type="image/jpeg", headers=_HEADERS)
        if what == "before" or (what == "after" and project.filled):
            clip = project.path if what == "before" else project.output
            return Response(jpeg(self.pictures.frame(clip, index)), media_type="image/jpeg", headers=_HEADERS)
        raise InputError(f"frame {index} has no picture {what} yet")

    async def mark(self, request: Request) -> Response:
        """PUT a mask (PNG), a box or points (JSON) of the object ?object=N (1) for a frame, or DELETE it."""
        project, frame = self.project(request), request.path_params["frame"]
        if int(request.headers.get("content-length", 0)) > LARGEST_MASK:
            raise InputError("the mask that was sent is too large")
        body = await request.body()
        given = await request.json() if request.headers.get("content-type") == "application/json" else {}
        return await run_in_threadpool(self._mark, project, frame, request, body, given)

    def _mark(self, project: Project, frame: int, request: Request, body: bytes, given: dict[str, Any]) -> Response:
        with self.lock:
            self.worker.require_idle()
            if request.headers.get("x-revision") != str(project.revision):
                raise ConflictError(f"another window changed {project.name}: this one now shows the latest; try again")
            number = _object(request.query_params.get("object", "1"))
            picture = self.pictures.frame(project.path, frame)
            if request.method == "DELETE":
                project.unmark(number, frame)
            elif "box" in given:
                x, y, width, height = (round(float(value), 1) for value in given["box"])
                mask = self.worker.boxed(picture, (x, y, width, height))
                project.mark(number, frame, mask, {"box": [x, y, width, height]})
            elif "points" in given:
                project.mark(number, frame, *_pointed(project, number, frame, picture, given["points"]))
            else:
                mask = mask_from_png(body, picture.shape[:2])
                project.mark(number, frame, mask, {"mask": bool(mask.any())})
            return JSONResponse(self.state(project), headers=_HEADERS)

    def start(self, request: Request) -> Response:
        """Begin to track, test or fill."""
        project, kind = self.project(request), request.path_params["kind"]
        if kind not in ("track", "test", "fill"):
            raise InputError(f"{kind} is nothing that can be done: track, test or fill")
        frame = int(request.query_params.get("frame", 0))
        with self.lock:
            self.worker.start(kind, project, frame)
        return JSONResponse(self.state(project), headers=_HEADERS)

    def cancel(self, request: Request) -> Response:
        """End what runs."""
        self.worker.cancel.set()
        return JSONResponse({}, headers=_HEADERS)

    def batch(self, request: Request) -> Response:
        """Write the manifest of all clips with masks; the command that fills them."""
        with self.lock:
            file, count = write_manifest(self.folder, list(self.projects.values()), self.worker.weights)
        words = ["e2fgvi", "batch", short(file), *chosen(self.worker.device, "open")]
        return JSONResponse({"command": shlex.join(words), "clips": count}, headers=_HEADERS)


def _object(text: str) -> int:
    """The number of an object. Raises `InputError`."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_OBJECTS):
        raise InputError(f"object {text[:12]} is no number from 1 to {MOST_OBJECTS}: reload the page")
    return int(text)


def _pointed(
    project: Project, number: int, frame: int, picture: PixelArray, points: list[list[float]]
) -> tuple[HoleArray, dict[str, Any]]:
    """The mask of an object that points mean, and how it is kept: as points where nothing else marks the frame, else as
    the mask that was there with the last point's correction."""
    height, width = picture.shape[:2]
    seeds = [(round(float(x), 1), round(float(y), 1), bool(inside)) for x, y, inside in points]
    for x, y, _ in seeds:
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"the point {x:g},{y:g} is not in the frame of {width}x{height}: click in the picture")
    by_points = "points" in project.marks.get(number, {}).get(frame, {})
    there = None if by_points else project.mask(number, frame)
    if there is not None:
        found = corrected(picture, there, seeds)
        return found, {"mask": bool(found.any())}
    if not any(inside for _, _, inside in seeds):
        raise InputError("nothing is marked in this frame: click on the object first")
    return mask_from_points(picture, seeds), {"points": [list(seed) for seed in seeds]}


async def _failed(request: Request, error: Exception) -> Response:
    """A mistake of the program; the server writes where it happened to the terminal."""
    sentence = f"{type(error).__name__}: {error} (a mistake of the program: its terminal says more)"
    return JSONResponse({"error": sentence}, 500, headers=_HEADERS)


async def _refused(request: Request, error: Exception) -> Response:
    """One sentence for what a user can change."""
    return JSONResponse({"error": str(error)}, 409 if isinstance(error, ConflictError) else 400, headers=_HEADERS)


def build(site: Site, token: str) -> Starlette:
    """The application: everything under /TOKEN/."""

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(site.close)

    at = f"/{token}"
    routes: list[tuple[str, Callable[[Request], Response | Awaitable[Response]], str]] = [
        ("/", site.page, "GET"),
        ("/api/clips", site.clips, "GET"),
        ("/api/cancel", site.cancel, "POST"),
        ("/api/batch", site.batch, "POST"),
        ("/api/clip/{clip}", site.show, "GET"),
        ("/api/clip/{clip}/mark/{frame:int}", site.mark, "PUT"),
        ("/api/clip/{clip}/mark/{frame:int}", site.mark, "DELETE"),
        ("/api/clip/{clip}/start/{kind}", site.start, "POST"),
        ("/api/clip/{clip}/{what}/{frame:int}", site.frame, "GET"),
        ("/{file}", site.page, "GET"),
    ]
    return Starlette(
        routes=[Route(at + path, endpoint, methods=[method]) for path, endpoint, method in routes],
        middleware=[Middleware(Gate, token=token)],
        exception_handlers={UserError: _refused, Exception: _failed},
        lifespan=life,
    )
