"""A copy of a site's server whose attributes refer to the copy, and not to the site's object.

Attributes of a server may hold it: bound methods, closures, helpers, an agent's tools. These would
read the store of the site's object, which is not isolated. So everything on a way from the server
back to itself is copied along; all else is shared.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

from chatkit.store import Store
from flask import Flask

T = TypeVar("T")

#: Objects that are looked at; a site whose server refers to more keeps the rest uncopied.
MOST_OBJECTS = 50_000
_SHARED = (type, ModuleType, Flask, Store)


def copy_rebound(server: T) -> T:
    """A shallow copy, together with copies of what leads back to the object."""
    copies = _Copies(_on_the_way_to(server))
    return copies.of(server)  # type: ignore[no-any-return]


def _parts(value: Any) -> Iterator[Any]:
    """What a value refers to."""
    if isinstance(value, _SHARED):
        return
    if isinstance(value, MethodType):
        yield value.__self__
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, CellType):
        try:
            yield value.cell_contents
        except ValueError:  # the variable has no value yet
            return
    elif type(value) in {list, tuple}:
        yield from value
    elif type(value) is dict:
        yield from list(value.values())
    else:
        if isinstance(value, FunctionType):
            yield from value.__closure__ or ()
        yield from list(getattr(value, "__dict__", {}).values())


def _on_the_way_to(server: object) -> dict[int, Any]:
    """The objects that the server refers to and that refer to it, by id; it is one of them."""
    found: dict[int, Any] = {id(server): server}
    referrers: dict[int, list[int]] = {}
    waiting = deque([server])
    while waiting and len(found) < MOST_OBJECTS:
        value = waiting.popleft()
        for part in _parts(value):
            referrers.setdefault(id(part), []).append(id(value))
            if id(part) not in found:
                found[id(part)] = part
                waiting.append(part)
    path, ids = {id(server): server}, [id(server)]
    while ids:
        for referrer in referrers.get(ids.pop(), ()):
            if referrer not in path:
                path[referrer] = found[referrer]
                ids.append(referrer)
    return path


class _Copies:
    """Copies of some objects that refer to each other.

    :param originals: the objects, by id.
    """

    def __init__(self, originals: dict[int, Any]) -> None:
        self._originals = originals
        self._made: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """The copy of one of the objects; any other value itself."""
        key = id(value)
        if key not in self._originals:
            return value
        if key not in self._made:
            self._make(key, value)
        return self._made[key]

    def _make(self, key: int, value: Any) -> None:
        if isinstance(value, MethodType):
            self._made[key] = MethodType(value.__func__, self.of(value.__self__))
        elif isinstance(value, partial):
            func, args, keywords = map(self.of, (value.func, value.args, value.keywords))
            self._made[key] = partial(func, *args, **keywords)
        elif type(value) is tuple:
            self._made[key] = tuple(map(self.of, value))
        elif isinstance(value, FunctionType):
            self._made[key] = self._function(value)
        elif isinstance(value, CellType):
            # First the cell: a function may refer to itself.
            made = self._made[key] = CellType()
            made.cell_contents = self.of(value.cell_contents)
        elif type(value) is list:
            self._made[key] = []
            self._made[key] += map(self.of, value)
        else:
            made = self._made[key] = copy.copy(value)
            fields, old = (made, value) if type(value) is dict else (vars(made), vars(value))
            # Of the original: its own __copy__ may have copied the parts as well.
            fields.update({name: self.of(part) for name, part in old.items()})

    def _function(self, function: FunctionType) -> FunctionType:
        cells = tuple(map(self.of, function.__closure__ or ()))
        made = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
        )
        made.__kwdefaults__ = function.__kwdefaults__
        made.__qualname__, made.__module__ = function.__qualname__, function.__module__
        made.__doc__, made.__annotations__ = function.__doc__, function.__annotations__
        vars(made).update({name: self.of(part) for name, part in vars(function).items()})
        return made
