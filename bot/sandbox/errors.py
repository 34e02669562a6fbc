"""Refusals in Discord's own codes and bodies, and the sandbox's failures to start. Knows no route."""

from typing import Any

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json-json-error-codes
UNKNOWN = {
    "Application": 10002,
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "Role": 10011,
    "User": 10013,
    "Webhook": 10015,
    "interaction": 10062,
    "application command": 10063,
}


class SandboxError(Exception):
    """The sandbox can't start or go on; the message is a sentence for the operator."""


class SandboxPortTakenError(SandboxError):
    """Another program listens on the port. Choose another one, or end that program."""

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is taken by another program. End it, or choose another port for the sandbox.")
        self.port = port


class RefusedError(Exception):
    """A request that Discord would refuse: HTTP status, JSON error code and message, nested form errors.

    `sentence` says the same to a person.
    """

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.errors = status, code, message, errors

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        return body | {"errors": self.errors} if self.errors else body

    @property
    def sentence(self) -> str:
        return _first(self.errors, ()) or self.message


def _first(errors: Any, path: tuple[str, ...]) -> str:
    if not isinstance(errors, dict):
        return ""
    if "_errors" in errors:
        return f"{'.'.join(path)}: {errors['_errors'][0]['message']}" if path else str(errors["_errors"][0]["message"])
    return next((found for key, value in errors.items() if (found := _first(value, (*path, key)))), "")


def invalid_form(path: str, code: str, message: str) -> RefusedError:
    """`path` is dotted, e.g. "embeds.0.title"."""
    nested: dict[str, Any] = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(path.split(".")):
        nested = {key: nested}
    return RefusedError(400, 50035, "Invalid Form Body", nested)


def too_long(path: str, limit: int) -> RefusedError:
    return invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit:,} or fewer in length.".replace(",", ""))


def required(path: str) -> RefusedError:
    return invalid_form(path, "BASE_TYPE_REQUIRED", "This field is required")


def unknown(what: str) -> RefusedError:
    return RefusedError(404, UNKNOWN[what], f"Unknown {what}")


def missing_access() -> RefusedError:
    return RefusedError(403, 50001, "Missing Access")


def missing_permissions() -> RefusedError:
    return RefusedError(403, 50013, "Missing Permissions")


def empty_message() -> RefusedError:
    return RefusedError(400, 50006, "Cannot send an empty message")


def not_the_author() -> RefusedError:
    return RefusedError(403, 50005, "Cannot edit a message authored by another user")


def request_too_large() -> RefusedError:
    return RefusedError(413, 40005, "Request entity too large")


def already_acknowledged() -> RefusedError:
    return RefusedError(400, 40060, "Interaction has already been acknowledged.")


def invalid_webhook_token() -> RefusedError:
    return RefusedError(401, 50027, "Invalid Webhook Token")


def too_many_followups() -> RefusedError:
    return RefusedError(400, 40094, "This interaction has reached the maximum number of follow-up messages.")
