"""What the SDKs say about a resource's arguments: AWS as the stand-in reads it, others alike."""

from __future__ import annotations

import importlib
import inspect

import pulumi

from sandbox.aws_plugin import schema
from tests.infra.recording import Registered

PACKAGES = {"gcp": "pulumi_gcp", "mongodbatlas": "pulumi_mongodbatlas"}


def problems(resource: Registered) -> list[str]:
    """Every argument, to any depth, that the resource's SDK does not know or misses."""
    return [f"{p.path}: {p.reason}" for p in schema.check(_arguments(resource.type), resource.inputs)]


def _arguments(token: str) -> type:
    """The SDK's class of a resource's arguments."""
    package, module, name = token.split(":")
    if package not in PACKAGES:
        return schema.arguments_class(token)
    folder = module.split("/")[0]
    path = PACKAGES[package] + ("" if folder == "index" else f".{folder}")
    resource = getattr(importlib.import_module(path), name)
    assert issubclass(resource, pulumi.CustomResource)
    found = vars(inspect.getmodule(resource))[f"{name}Args"]
    assert isinstance(found, type)
    return found
