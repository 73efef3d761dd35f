"""Validates requests to the stand-in, and builds OpenAI's error responses."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from werkzeug.wrappers import Request, Response

Json = dict[str, Any]

MAX_BODY = 1_000_000  # bytes
MAX_VARIABLES = 64
MAX_VARIABLE_NAME = 64  # characters
_SHOWN = 60  # characters of a wrong value in a message


class RefusalError(Exception):
    """A response other than 200, in OpenAI's error JSON."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """Build the response."""
        kind = "invalid_request_error"
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = "rate_limit_error"
        elif self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        body = json.dumps({"error": error})
        return Response(body, self.status, self.headers, content_type="application/json")


def bad_request(message: str, code: str, param: str | None = None) -> RefusalError:
    """Build a 400 response."""
    return RefusalError(HTTPStatus.BAD_REQUEST, message, code=code, param=param)


@dataclass(frozen=True)
class Field:
    """The rule for one field of a body; ``low`` and ``high`` bound an integer."""

    kind: Literal["string", "integer", "boolean", "object", "variables"]
    fields: Mapping[str, Field] = field(default_factory=dict)
    required: bool = False
    nullable: bool = False
    empty: bool = True
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()


_COUNT = Field("integer", low=1)
_SWITCH = Field("object", {"enabled": Field("boolean")})
_WORKFLOW = {
    "id": Field("string", required=True),
    "version": Field("string"),
    "state_variables": Field("variables"),
    "tracing": _SWITCH,
}
_EXPIRES_AFTER = {
    "anchor": Field("string", required=True, choices=("created_at",)),
    "seconds": Field("integer", required=True, low=1, high=600),
}
_FILE_UPLOAD = {
    "enabled": Field("boolean"),
    "max_file_size": Field("integer", low=1, high=512),
    "max_files": _COUNT,
}
_CONFIGURATION = {
    "automatic_thread_titling": _SWITCH,
    "file_upload": Field("object", _FILE_UPLOAD),
    "history": Field("object", {"enabled": Field("boolean"), "recent_threads": _COUNT}),
}
CREATE_SESSION = Field(
    "object",
    {
        "user": Field("string", required=True, empty=False),
        "workflow": Field("object", _WORKFLOW, required=True),
        "expires_after": Field("object", _EXPIRES_AFTER),
        "rate_limits": Field("object", {"max_requests_per_1_minute": _COUNT}),
        "chatkit_configuration": Field("object", _CONFIGURATION),
    },
)
NOTHING = Field("object")
FRAME_MESSAGE = Field(
    "object",
    {
        "thread_id": Field("string", nullable=True),
        "text": Field("string", required=True, empty=False),
    },
)

_TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "variables": dict}
_JSON_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a decimal number",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
}


def _wrong_type(value: object, wanted: str, param: str) -> RefusalError:
    where = f"'{param}'" if param else "the body"
    got = _JSON_NAMES.get(type(value), "null")
    message = f"Invalid type for {where}: expected {wanted}, but got {got} instead."
    return bad_request(message, "invalid_type", param or None)


def check(value: object, rule: Field, param: str = "") -> None:
    """Refuse a value that does not match a rule; ``param`` is its path in the body."""
    if value is None and rule.nullable:
        return
    wanted = _TYPES[rule.kind]
    if type(value) is not wanted:  # not isinstance: True is an int in Python, but not in JSON
        raise _wrong_type(value, _JSON_NAMES[wanted], param)
    if isinstance(value, str):
        _check_string(value, rule, param)
    elif isinstance(value, int):
        _check_bounds(value, rule, param)
    elif isinstance(value, dict) and rule.kind == "variables":
        _check_variables(value, param)
    elif isinstance(value, dict):
        _check_fields(value, rule, f"{param}." if param else "")


def _check_string(value: str, rule: Field, param: str) -> None:
    if not value and not rule.empty:
        message = f"Invalid '{param}': empty string. Expected a string with minimum length 1."
        raise bad_request(message, "empty_string", param)
    if rule.choices and value not in rule.choices:
        known = ", ".join(f"'{choice}'" for choice in rule.choices)
        message = f"Invalid value: '{value[:_SHOWN]}'. Supported values are: {known}."
        raise bad_request(message, "invalid_value", param)


def _check_bounds(value: int, rule: Field, param: str) -> None:
    if rule.low is not None and value < rule.low:
        message = f"Invalid '{param}': integer below minimum value. Expected a value >= {rule.low}."
        raise bad_request(message, "integer_below_min_value", param)
    if rule.high is not None and value > rule.high:
        message = f"Invalid '{param}': integer above maximum value. Expected <= {rule.high}."
        raise bad_request(message, "integer_above_max_value", param)


def _check_variables(value: Mapping[str, object], param: str) -> None:
    if len(value) > MAX_VARIABLES:
        message = f"Invalid '{param}': too many properties. Expected at most {MAX_VARIABLES}."
        raise bad_request(message, "object_above_max_properties", param)
    for name, entry in value.items():
        where = f"{param}.{name[:_SHOWN]}"
        if len(name) > MAX_VARIABLE_NAME:
            message = f"Invalid '{where}': property name longer than {MAX_VARIABLE_NAME}."
            raise bad_request(message, "property_name_above_max_length", where)
        if not isinstance(entry, (str, int, float)):
            raise _wrong_type(entry, "a string, number or boolean", where)
        if isinstance(entry, float) and not math.isfinite(entry):  # 1e999 is valid JSON
            raise bad_request(f"Invalid '{where}': too large a number.", "invalid_value", where)


def _check_fields(value: Mapping[str, object], rule: Field, prefix: str) -> None:
    for name in value:
        if name not in rule.fields:
            raise _unknown(prefix + name)
    for name, part in rule.fields.items():
        where = prefix + name
        if name in value:
            check(value[name], part, where)
        elif part.required:
            message = f"Missing required parameter: '{where}'."
            raise bad_request(message, "missing_required_parameter", where)


def _unknown(name: str) -> RefusalError:
    name = name[:_SHOWN]
    return bad_request(f"Unknown parameter: '{name}'.", "unknown_parameter", name)


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python accepts but JSON does not have."""
    raise ValueError(name)


def json_body(request: Request, rule: Field) -> Json:
    """Parse a request's JSON body; an empty one is ``{}`` if no field is required."""
    if (request.content_length or 0) > MAX_BODY:
        raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request body is too large.")
    raw = request.get_data()
    if not raw and not any(part.required for part in rule.fields.values()):
        return {}
    if request.mimetype != "application/json":
        message = "Unsupported content type. This API method only accepts 'application/json'."
        raise bad_request(message, "unsupported_content_type")
    try:
        body: Json = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        message = "We could not parse the JSON body of your request."
        raise bad_request(message, "invalid_json") from None
    check(body, rule)
    return body


PAGING = ("limit", "order", "after", "before")


def check_query(request: Request, *known: str) -> None:
    """Refuse unknown and empty query parameters."""
    for name, value in request.args.items():
        if name not in known:
            raise _unknown(name)
        _check_string(value, Field("string", empty=False), name)


def page(rows: Sequence[Json], request: Request) -> Json:
    """Return one page of rows (oldest first) by ``limit``, ``order``, ``after`` and ``before``."""
    text = request.args.get("limit", "20")
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise _wrong_type(text, "an integer", "limit")
    limit = int(text)
    _check_bounds(limit, Field("integer", low=0, high=100), "limit")
    order = request.args.get("order", "desc")
    _check_string(order, Field("string", choices=("asc", "desc")), "order")
    rows = list(rows) if order == "asc" else list(reversed(rows))
    after, before = request.args.get("after"), request.args.get("before")
    if after is not None:
        rows = rows[_position(rows, after, "after") + 1 :]
    if before is not None:
        rows = rows[: _position(rows, before, "before")]
    # With `before` alone, the page ends just before the cursor.
    data = rows[:limit] if before is None or after is not None else rows[-limit or len(rows) :]
    return {
        "object": "list",
        "data": copy.deepcopy(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(data) < len(rows),
    }


def _position(rows: Sequence[Json], cursor: str, param: str) -> int:
    for index, row in enumerate(rows):
        if row["id"] == cursor:
            return index
    raise bad_request(f"Invalid '{param}': no such id in this list.", "invalid_value", param)
