"""The served page and its JSON: what can be asked of a finished run, and who is let through."""

import ipaddress
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import HTTPException as FastAPIException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference.finished_run import FinishedRun
from inference.shaped_lists import EVEN, Rules
from web import answers
from web.answers import Refused
from web.renewal import Renewal
from web.schemas import (
    MAX_K,
    Error,
    Franchise,
    Health,
    Id,
    ListRequest,
    Lists,
    RunInfo,
    Share,
    Similar,
    Titles,
    Upload,
    UserLists,
)

WEB = Path(__file__).parent
PAGE = {
    "serve.html": "text/html",
    "serve.css": "text/css",
    "serve.js": "text/javascript",
    "serve_state.js": "text/javascript",
    "serve_titles.js": "text/javascript",
    "serve_texts.js": "text/javascript",
}
LANGUAGES = ["en", "zh"]
UPLOAD_MIB = 20
LOOPBACK, EVERY_ADDRESS = frozenset({"localhost", "127.0.0.1", "::1"}), frozenset({"0.0.0.0", "::"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
STATUS = {"unknown_title": 404, "unknown_user": 404, "wrong_type": 415}  # of Refused, else 422
AT_ONCE = 4  # questions that are worked on; others wait, for there is no gain in more of them than cores


def the_run(request: Request) -> FinishedRun:
    """Return the run that is served."""
    return request.app.state.run


Served = Annotated[FinishedRun, Depends(the_run)]
Length = Annotated[int, Query(ge=1, le=MAX_K)]
NOT_FOUND, BROKEN, TOO_LARGE, WRONG_TYPE = ({status: {"model": Error}} for status in (404, 400, 413, 415))
api, of_users = APIRouter(prefix="/api"), APIRouter(prefix="/api")


# --- what can be asked ---


@api.get("/health")
async def health() -> Health:
    """Say that the server answers, whatever else it is busy with."""
    return Health(status="ok")


@api.get("/run")
def run_info(run: Served, request: Request) -> RunInfo:
    """Tell what is served: counts, tags to filter by, and what the run can do."""
    info = answers.described(run)
    can = {**info["can"], "upload": True, "users": request.app.state.users}
    return {**info, "can": can, "max_upload_mib": UPLOAD_MIB, "languages": LANGUAGES}


@api.get("/titles")
def titles(run: Served, q: Id = "", n: Length = 10) -> Titles:
    """Find titles by any of their names, in any script, best first; without q, those that most people collect."""
    return {"titles": answers.found(run, q, n)}


@api.post("/list", responses=BROKEN | TOO_LARGE)
def lists(run: Served, asked: ListRequest) -> Lists:
    """List titles for someone who collected some, on request with the reasons, and with the best of the new titles."""
    return answers.lists_for_new(run, asked)


@api.get("/similar/{subject_id:path}", responses=NOT_FOUND)
def similar(run: Served, subject_id: Id, k: Length = 10) -> Similar:
    """List the titles nearest to one, by who collects them and by their text."""
    return answers.similar_to(run, subject_id, k)


@api.get("/franchise/{subject_id:path}", responses=NOT_FOUND)
def franchise(run: Served, subject_id: Id) -> Titles:
    """List all parts of what a title belongs to, in the order in which one watches them; perhaps it alone."""
    return {"titles": answers.parts_of(run, subject_id)}


@of_users.get("/user/{user_id:path}", responses=NOT_FOUND)
def user(run: Served, user_id: Id, k: Length = 20, franchise: Franchise = "all", niche: Share = EVEN) -> UserLists:
    """List titles for a user of the data, with what they collected; the rules are those of /api/list."""
    return answers.lists_for_user(run, user_id, k, Rules(franchise, niche))


@api.post(
    "/upload",
    responses=BROKEN | TOO_LARGE | WRONG_TYPE,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(
    run: Served, request: Request, name: Annotated[Id, Query(description="of the file")] = "list"
) -> Upload:
    """Read the list that someone exported from a site (the file itself is the body) and find its titles in the run.

    Nothing of it is kept.
    """
    # no form of a foreign page can send this type without asking, and asking is answered with 405
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/octet-stream":
        raise Refused("wrong_type", "the body of an upload is the file itself; send it as application/octet-stream")
    with TemporaryDirectory() as folder:
        path = Path(folder) / (re.sub(r"[^\w .()-]", "_", name)[-60:].lstrip(". ") or "list")
        with path.open("wb") as file:
            async for part in request.stream():
                file.write(part)
        return await anyio.to_thread.run_sync(answers.uploaded, run, path, limiter=request.app.state.reading)


# --- the application ---


def create_app(run: FinishedRun, users: bool = False, renewal: Renewal | None = None) -> FastAPI:
    """Make the application for a run; see guarded for what protects it.

    Args:
        run: as from load_finished.
        users: whether to list for the users of the data, by their ids.
        renewal: by which a new run in the folder takes its place; without it, this one is served for ever.
    """

    @asynccontextmanager
    async def started(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = AT_ONCE
        app.state.reading = anyio.CapacityLimiter(1)  # a reader of large files holds up the others
        async with anyio.create_task_group() as beside:
            if renewal:
                beside.start_soon(renewal.watch, app.state)
            yield
            beside.cancel_scope.cancel()

    # no page of FastAPI's own, which would load its assets from elsewhere
    app = FastAPI(
        title="AGLRec",
        description="Titles recommended by a finished run.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=started,
        responses={421: {"model": Error}, 422: {"model": Error}},
    )
    app.state.run, app.state.users = run, users
    app.include_router(api)
    if users:
        app.include_router(of_users)
    for name, kind in PAGE.items():
        path = "/" if name == "serve.html" else f"/{name}"
        app.add_route(path, partial(_page, WEB / name, kind), include_in_schema=False)
    for error, answer in (
        (Refused, _on_refused),
        (RequestValidationError, _on_invalid),
        (HTTPException, _on_http),
        (ClientDisconnect, lambda *_: GONE),
        (Exception, lambda *_: FAILED),
    ):
        app.exception_handler(error)(answer)
    return app


def _page(path: Path, kind: str, _: Request) -> FileResponse:
    return FileResponse(path, media_type=kind)


def _problem(status: int, code: str, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status, headers)


async def _on_refused(_: Request, error: Refused) -> JSONResponse:
    return _problem(STATUS.get(error.code, 422), error.code, str(error))


async def _on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][1:])) or first["loc"][0]
    return _problem(422, "invalid", f"{where}: {first['msg']}; see /openapi.json")


async def _on_http(request: Request, error: HTTPException) -> JSONResponse:
    code = {404: "not_found", 405: "not_allowed", 413: "too_large"}.get(error.status_code, "invalid")
    message = f"{request.method} {request.url.path}: {error.detail}; see /openapi.json"
    if request.method == "OPTIONS" and "origin" in request.headers:
        origin = request.headers["origin"]
        message = f"a page of {origin} may not ask this server (CORS); let a proxy show both at one address"
    return _problem(error.status_code, code, message, error.headers)


GONE = _problem(400, "invalid", "the body ended early; send it again")
FAILED = _problem(500, "failed", "the server failed at this; what happened is on its terminal")


# --- who may ask ---

WRONG_HOST = _problem(
    421,
    "wrong_host",
    "this server has another name; behind a proxy start it with --public_url, or else with --host NAME",
)


class Public(NamedTuple):
    """The address at which a proxy shows the page."""

    name: str = ""
    root: str = ""  # "/anime" of https://host/anime, whether the proxy takes it off or not


NOWHERE_ELSE = Public()


def public(url: str) -> Public:
    """Take an address apart; an empty one is none.

    Raises:
        ValueError: it is none of http or https, or has more than a path.
    """
    try:
        at = urlsplit(url)
        if url and (at.scheme not in ("http", "https") or not at.hostname or at.query or at.fragment):
            raise ValueError
    except ValueError:
        raise ValueError(f"--public_url is {url!r}; write it as https://NAME or https://NAME/PATH") from None
    return Public(at.hostname or "", at.path.rstrip("/"))


def guarded(app: ASGIApp, host: str, at: Public = NOWHERE_ELSE) -> ASGIApp:
    """Let through to the app what is asked of this machine by its name, as far as it is not too large.

    A page of a foreign name that was made to lead here (DNS rebinding) would read what is served; the name in its
    requests stays the foreign one. Every answer gets the headers that protect a page.

    Args:
        app: to be guarded.
        host: the address that is listened at.
        at: where a proxy shows it, if one does.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def receive_bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > UPLOAD_MIB * 2**20:
                limit = f"more than {UPLOAD_MIB} MiB is too much for one person's list"
                raise FastAPIException(413, f"{limit}; make a data folder of it with tools/convert.py")
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        if scope["type"] != "http":
            await app(scope, receive, send)
        elif is_ours(Headers(scope=scope).get("host", ""), host, at.name):
            if at.root and scope["path"] == at.root:  # the page's own addresses are relative to a folder
                await RedirectResponse(f"{at.root}/")(scope, receive, send_with_headers)
                return
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            await app({**scope, "method": method, "root_path": at.root}, receive_bounded, send_with_headers)
        else:
            await WRONG_HOST(scope, receive, send_with_headers)

    return answer


def is_ours(called: str, host: str, public_name: str = "") -> bool:
    """Say whether a Host header names this machine, as it listens at host, or as a proxy shows it.

    Where that is every address, every address will do: no foreign name is one.
    """
    try:
        name = urlsplit(f"//{called}").hostname or ""
    except ValueError:
        return False
    if name in LOOPBACK or name == host.lower() or name and name == public_name:
        return True
    return host in EVERY_ADDRESS and (name == socket.gethostname().lower() or is_address(name))


def is_address(name: str) -> bool:
    """Say whether a name is an IP address."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
