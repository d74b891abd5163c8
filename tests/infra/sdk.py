"""What the SDKs of Google Cloud and Atlas say about a resource's arguments; for AWS the stand-in knows."""

from __future__ import annotations

import importlib
import inspect

import pulumi

from sandbox.aws_plugin import schema
from tests.infra.recording import Registered

PACKAGES = {"aws": "pulumi_aws", "gcp": "pulumi_gcp", "mongodbatlas": "pulumi_mongodbatlas"}


def problems(resource: Registered) -> list[str]:
    """Every argument, to any depth, that the resource's SDK does not know or misses."""
    package, module, name = resource.type.split(":")
    folder = module.split("/")[0]
    path = PACKAGES[package] + ("" if folder == "index" else f".{folder}")
    found = getattr(importlib.import_module(path), name)
    assert issubclass(found, pulumi.CustomResource)
    own = vars(inspect.getmodule(found))
    arguments = own.get(f"{name}Args") or own[f"{name}InitArgs"]
    return [f"{p.path}: {p.reason}" for p in schema.check(arguments, resource.inputs)]
