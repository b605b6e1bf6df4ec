"""The model's errors in words that help, and that never repeat the key."""

import re
from http import HTTPStatus

import openai

from app.errors import ChatError

# The class's gateway names each refusal by a code and adds a sentence for people, such as when the
# budget is full again. Here is what happened; its sentence becomes the hint.
REFUSALS = {
    "insufficient_quota": ("The budget for the model is used up.", "Ask your instructor for more."),
    "rate_limit_exceeded": (
        "Too many questions at once for the model.",
        "Wait a minute, then ask again.",
    ),
    "paused": ("The model is paused.", "Ask your instructor when it goes on."),
}
KEYS = re.compile(r"\b[sw]k-[\w-]{4,}")
LONGEST_HINT = 300  # characters


def explain(error: openai.OpenAIError, model: str, key: str = "") -> ChatError:
    """Put an error into words."""
    code = getattr(error, "code", None)
    if code in REFUSALS:
        message, hint = REFUSALS[code]
        return ChatError(message, said(error, key) or hint)
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            message = "The model did not accept the key."
            hint = "Check OPENAI_API_KEY."
        case openai.NotFoundError():
            message = f"There is no model named {model} at this address."
            hint = "Check OPENAI_MODEL and OPENAI_BASE_URL."
        case openai.RateLimitError():
            message, hint = REFUSALS["rate_limit_exceeded"]
        case openai.APITimeoutError():
            message = "The model took too long to answer."
            hint = "Ask again, or ask something shorter."
        case openai.APIConnectionError():
            message = "The connection to the model failed."
            hint = "Check OPENAI_BASE_URL, then ask again."
        case openai.BadRequestError():
            message = "The model refused this question."
            hint = "Start a new conversation; this one may have become too long."
        case _:
            message = "The model has a problem of its own."
            hint = said(error, key) if code else "Ask again in a moment."
    return ChatError(message, hint or "Ask again in a moment.")


def said(error: openai.OpenAIError, key: str) -> str:
    """Return what the other side said, without anything that looks like a key."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    if not isinstance(text, str):
        return ""
    if key:
        text = text.replace(key, "***")
    return KEYS.sub("***", text).strip()[:LONGEST_HINT]


def worth_retrying(error: openai.OpenAIError) -> bool:
    """Tell whether the same question may work in a moment."""
    if isinstance(error, openai.APIStatusError):
        if error.code == "insufficient_quota" or error.response.headers.get("x-should-retry") == (
            "false"
        ):
            return False
        return error.status_code in {
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.CONFLICT,
            HTTPStatus.TOO_MANY_REQUESTS,
        } or (error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return isinstance(error, openai.APIConnectionError) and not isinstance(
        error, openai.APITimeoutError
    )
