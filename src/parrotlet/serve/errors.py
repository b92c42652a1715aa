"""Errors as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ..errors import UserError


class Refusal(Exception):
    """A request that is not answered: status, reason, and the field that it is about."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    @property
    def response(self) -> JSONResponse:
        """As the client gets it."""
        headers = {"Retry-After": "1"} if self.status == 429 else {}
        headers |= {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse(error_body(self), self.status, headers)


def error_body(refusal: Refusal) -> dict[str, object]:
    """The JSON of an error. A lone surrogate, which a client can send but nobody can encode, becomes `?`."""
    message = str(refusal).encode(errors="replace").decode()
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": refusal.param, "code": refusal.code}}


def add_error_handlers(app: FastAPI) -> None:
    """Answer everything that goes wrong in this one form."""

    @app.exception_handler(Refusal)
    def refused(_: Request, error: Refusal) -> JSONResponse:
        return error.response

    @app.exception_handler(UserError)
    def bad_value(_: Request, error: UserError) -> JSONResponse:
        return Refusal(400, str(error)).response

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> JSONResponse:
        response = Refusal(error.status_code, str(error.detail)).response
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"][1:])
        param = field.encode(errors="replace").decode() or None
        return Refusal(400, f"{field}: {first['msg']}" if field else first["msg"], param=param).response

    @app.exception_handler(Exception)
    def bug(_: Request, error: Exception) -> JSONResponse:
        return Refusal(500, f"the server failed ({type(error).__name__}); its log says where").response
