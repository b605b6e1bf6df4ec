"""Errors in plain words. Every one looks like {"error": {"message": "...", "hint": "..."}}."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    message: str
    hint: str


class ErrorBody(BaseModel):
    """The body of every error."""

    error: Problem


class ChatError(Exception):
    """Something did not work, for a reason the person asking should read."""

    def __init__(
        self, message: str, hint: str, status: int = HTTPStatus.SERVICE_UNAVAILABLE
    ) -> None:
        super().__init__(message)
        self.problem = Problem(message=message, hint=hint)
        self.status = status


UNEXPECTED = Problem(
    message="Something went wrong inside this app.", hint="The app's log tells the whole story."
)


def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong with the data that was sent."""
    message = " ".join(describe(fault) for fault in error.errors())
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, Problem(message=message, hint=docs(request)))


def describe(fault: Mapping[str, Any]) -> str:
    """Put one fault that FastAPI found into a sentence."""
    if fault["type"] == "json_invalid":
        return "The body is not valid JSON."
    place, *names = map(str, fault["loc"])  # such as "body", "message"
    what = f"field {'.'.join(names)}" if names else place
    reason = fault["msg"]
    return f"The {what} is not right: {reason[0].lower()}{reason[1:]}."


def http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Say what is wrong with the address, or what an endpoint raised."""
    path = request.url.path
    match error.status_code, error.detail:
        case HTTPStatus.NOT_FOUND, "Not Found":
            message = f"There is nothing at {path}."
        case HTTPStatus.METHOD_NOT_ALLOWED, _:
            message = f"{path} does not answer {request.method}."
        case _, detail:
            message = str(detail)
    problem = Problem(message=message, hint=docs(request))
    return answer(error.status_code, problem, error.headers)


def known_error(_: Request, error: ChatError) -> JSONResponse:
    """Say what the app itself found wrong."""
    return answer(error.status, error.problem)


def unexpected_error(_: Request, __: Exception) -> JSONResponse:
    """Hide the details from the visitor; uvicorn writes them to the log."""
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)


def docs(request: Request) -> str:
    """Point to the list of everything the app understands."""
    return f"See {request.scope.get('root_path', '')}/docs for what this app understands."


def answer(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as JSON."""
    body = ErrorBody(error=problem)
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Any]] = {
    RequestValidationError: invalid_request,
    HTTPException: http_error,
    ChatError: known_error,
    Exception: unexpected_error,
}
