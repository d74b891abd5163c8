"""What the genuine SDKs say about a resource's arguments.

The ``...Args`` classes of ``pulumi_aws`` (and of the other clouds' packages, which tests
check with the same functions) carry the provider's schema: names on the wire, types, and
(by their constructors) which are required. Reading them here means that no second list of
names has to be kept true.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import types
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin

import pulumi
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type

from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.values import UNKNOWN, Plain

#: First part of a type token -> whose SDK it is of.
PACKAGES = {"aws": "the AWS SDK", "gcp": "the Google Cloud SDK", "mongodbatlas": "the MongoDB Atlas SDK"}

#: Modules whose Python name is not the token's, because the token's is a keyword.
_PYTHON_MODULES = {"lambda": "lambda_", "index": ""}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an argument."""

    path: str
    reason: str


@cache
def resource_class(token: str) -> type[pulumi.CustomResource]:
    """The SDK's class of a type token as ``aws:s3/bucket:Bucket``.

    Raises:
        StandInError: when the SDK has no such type.
    """
    package, module, name = token.split(":")
    module = module.split("/")[0]
    path = ".".join(filter(None, (f"pulumi_{package}", _PYTHON_MODULES.get(module, module))))
    if package in PACKAGES:
        try:
            found = getattr(importlib.import_module(path), name, None)
        except ModuleNotFoundError:
            found = None
        if isinstance(found, type) and getattr(found, "pulumi_type", None) == token:
            return found
    raise StandInError(f"{token} is not a resource type of {PACKAGES.get(package, 'any SDK here')}")


@cache
def arguments_class(token: str) -> type:
    """The SDK's class of a resource's arguments."""
    resource = resource_class(token)
    module = inspect.getmodule(resource)
    for suffix in ("Args", "InitArgs"):
        found = vars(module).get(resource.__name__ + suffix)
        if isinstance(found, type) and found.__module__ == resource.__module__:
            return found
    raise StandInError(f"{token}: the SDK has no class of its arguments")


@cache
def fields(arguments: type) -> dict[str, Any]:
    """Names on the wire and types of an arguments class."""
    return dict(input_type_types(arguments))


@cache
def required(arguments: type) -> frozenset[str]:
    """Names on the wire that the class's constructor demands."""
    wire = input_type_py_to_pulumi_names(arguments)
    signature = inspect.signature(arguments.__init__)  # type: ignore[misc]
    return frozenset(
        wire[name]
        for name, parameter in signature.parameters.items()
        if name in wire and parameter.default is inspect.Parameter.empty
    )


def outputs(token: str) -> frozenset[str]:
    """Names on the wire of a resource's outputs, ``id`` and ``urn`` left out."""
    resource = resource_class(token)
    names = (
        getattr(value.fget, "_pulumi_name", None) or name
        for name, value in vars(resource).items()
        if isinstance(value, property)
    )
    return frozenset(names)


def check(arguments: type, values: Mapping[str, Plain], path: str = "") -> Iterator[Problem]:
    """Compare values with an arguments class, to any depth."""
    known = fields(arguments)
    for name, value in values.items():
        here = f"{path}.{name}" if path else name
        if name not in known:
            yield Problem(here, f"is not an argument of {arguments.__name__}{_similar(name, known)}")
        elif value is not None:
            yield from _check_value(known[name], value, here)
    for name in sorted(required(arguments)):
        if values.get(name) is None:
            yield Problem(f"{path}.{name}" if path else name, "is required")


def _similar(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _check_value(annotation: Any, value: Plain, path: str) -> Iterator[Problem]:
    if value is UNKNOWN:
        return
    choices = list(_alternatives(annotation))
    attempts = [list(_check_one(choice, value, path)) for choice in choices]
    if attempts and all(attempts):
        # The most telling answer is the one of the choice that got furthest into the value.
        yield from max(attempts, key=lambda problems: max(len(p.path) for p in problems))


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The members of an SDK annotation, without what only wraps a value (Output, Awaitable, None)."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _alternatives(member)
        return
    origin = get_origin(annotation) or annotation
    if origin is type(None) or (isinstance(origin, type) and issubclass(origin, (Awaitable, pulumi.Output))):
        return
    yield annotation


def _check_one(kind: Any, value: Plain, path: str) -> Iterator[Problem]:
    origin = get_origin(kind) or kind
    if origin is Any:
        return
    if is_input_type(origin):
        if isinstance(value, Mapping):
            yield from check(origin, value, path)
        else:
            yield Problem(path, f"must be an object, got {value!r}")
    elif isinstance(origin, type) and issubclass(origin, Enum):
        allowed = [member.value for member in origin]
        if value not in allowed:
            yield Problem(path, f"must be one of {', '.join(map(str, allowed))}, got {value!r}")
    elif origin in (str, bool, int, float):
        fits = isinstance(value, (int, float) if origin is float else origin)
        if not fits or (isinstance(value, bool) and origin is not bool):
            yield Problem(path, f"must be {origin.__name__}, got {value!r}")
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            yield Problem(path, f"must be an object, got {value!r}")
            return
        for key, item in value.items():
            yield from _check_value(get_args(kind)[1], item, f"{path}.{key}")
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, list):
            yield Problem(path, f"must be a list, got {value!r}")
            return
        for index, item in enumerate(value):
            yield from _check_value(get_args(kind)[0], item, f"{path}[{index}]")
    else:
        raise StandInError(f"{path}: the stand-in does not know the SDK's type {kind!r}")
