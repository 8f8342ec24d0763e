"""The web application: the page, its events, details on demand, and the actions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from beam_pipeline.dashboard.access import GuardedAccess, may_act
from beam_pipeline.dashboard.actions import Actions
from beam_pipeline.dashboard.followed import FollowedTopics
from beam_pipeline.dashboard.json_bytes import json_bytes
from beam_pipeline.dashboard.live_updates import LiveUpdates
from beam_pipeline.dashboard.settings import DashboardSettings
from beam_pipeline.dashboard.trace import NoResultError
from models.errors import OptionsError, ServingError
from models.scorers import model_types

STATIC = Path(__file__).resolve().parent / "static"
_LARGEST_BODY = 65_536
Action = Callable[[Mapping[str, Any]], str]


def make_application(settings: DashboardSettings, followed: FollowedTopics, actions: Actions) -> Starlette:
    """The application; the caller starts `followed`, and closes it and the actions."""
    endpoints = _Endpoints(settings, followed, actions)
    return Starlette(
        routes=[
            Route("/", endpoints.page),
            Route("/health", endpoints.health),
            Route("/api/events", endpoints.events),
            Route("/api/results/{partition:int}/{offset:int}", endpoints.result),
            Route("/api/dead-letters/{identity}", endpoints.dead_letter),
            Route("/api/session", endpoints.session, methods=["POST"]),
            Route("/api/actions/{action}", endpoints.act, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(GuardedAccess, hosts=settings.hosts)],
    )


class _Endpoints:
    def __init__(self, settings: DashboardSettings, followed: FollowedTopics, actions: Actions) -> None:
        self._token = settings.token
        self._followed = followed
        self._actions: dict[str, Action] = {
            "promote": actions.promote,
            "rollback": actions.roll_back,
            "publish": actions.publish,
        }
        self._acting = asyncio.Lock()
        self._updates = LiveUpdates(followed, _setup(settings))

    async def page(self, _: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def health(self, _: Request) -> Response:
        return PlainTextResponse("ok")

    async def events(self, _: Request) -> Response:
        if self._updates.is_full:
            return _error("too many pages are open", 503)
        # A proxy must not hold events back.
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self._updates.stream(), media_type="text/event-stream", headers=headers)

    async def result(self, request: Request) -> Response:
        place = request.path_params["partition"], request.path_params["offset"]
        try:
            return _json(await asyncio.to_thread(self._followed.tracer.trace, *place))
        except NoResultError as error:
            return _error(str(error), 404)
        except ServingError as error:
            return _error(str(error), 503)

    async def dead_letter(self, request: Request) -> Response:
        letter = self._followed.letters.payload(request.path_params["identity"])
        return _error("this dead letter is no longer among the last ones", 404) if letter is None else _json(letter)

    async def session(self, request: Request) -> Response:
        """Whether the token of the request allows actions."""
        refused = self._refused(request)
        return refused if refused is not None else _json({"model_types": model_types()})

    async def act(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        action = self._actions.get(request.path_params["action"])
        if action is None:
            return _error("there is no such action", 404)
        try:
            wanted = await _body(request)
            async with self._acting:
                return _json({"done": await asyncio.to_thread(action, wanted)})
        except OptionsError as error:
            return _error(str(error), 400)
        except ServingError as error:
            return _error(str(error), 409)

    def _refused(self, request: Request) -> Response | None:
        if self._token is None:
            return _error("actions are off: start the dashboard with --actions", 403)
        if not may_act(request, self._token):
            return _error("the token is missing or wrong", 401)
        return None


def _setup(settings: DashboardSettings) -> dict[str, Any]:
    topics = settings.topics
    return {
        "topics": {
            "records": list(topics.records),
            "results": topics.results,
            "models": topics.models,
            "status": topics.status,
            "dead_letters": topics.dead_letters,
            "drift": topics.drift,
        },
        "deployment": settings.deployment,
        "actions": settings.token is not None,
    }


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object in the body; raises OptionsError."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_BODY:
            raise OptionsError("the request is too large")
    try:
        value = orjson.loads(content)
    except ValueError as error:
        raise OptionsError("the request is not JSON") from error
    if not isinstance(value, dict):
        raise OptionsError("the request is not a JSON object")
    return value


def _json(value: Any) -> Response:
    return Response(json_bytes(value), media_type="application/json")


def _error(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)
