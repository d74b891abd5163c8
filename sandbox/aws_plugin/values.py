"""Between Pulumi's property values and plain Python ones.

The plain form is what JSON knows, with whole numbers as ``int``, and
:data:`UNKNOWN` for a value that a preview cannot know yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

Plain = Any
Properties = dict[str, Plain]


class Unknown:
    """The type of :data:`UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()

#: Unknown values travel as one of these strings, by the type they will have
#: (sdk/go/common/resource/plugin/rpc.go of pulumi/pulumi).
_MARKS = frozenset(
    {
        rpc.UNKNOWN,  # a string, and whatever the Python SDK sends
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # a boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # a number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # an array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # an asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # an archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # an object
    }
)


def to_plain(value: PropertyValue) -> Plain:
    """The plain form of one value; assets and resource references are not carried out."""
    inner = value.value
    if isinstance(inner, str):
        return UNKNOWN if inner in _MARKS else inner
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if inner is None or isinstance(inner, (bool, float)):
        return inner
    if isinstance(inner, Mapping):
        return {key: to_plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence):
        return [to_plain(item) for item in inner if isinstance(item, PropertyValue)]
    raise TypeError(f"the stand-in does not do values of type {type(inner).__name__}")


def from_plain(value: Plain) -> PropertyValue:
    """The property value of one plain value."""
    if value is UNKNOWN:
        # PropertyValue.computed() cannot be marshalled by the SDK; the mark can.
        return PropertyValue(rpc.UNKNOWN)
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    if isinstance(value, Mapping):
        return PropertyValue({key: from_plain(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return PropertyValue([from_plain(item) for item in value])
    return PropertyValue(value)


def to_properties(values: Mapping[str, PropertyValue]) -> Properties:
    """:func:`to_plain` of a resource's properties."""
    return {key: to_plain(value) for key, value in values.items()}


def from_properties(values: Mapping[str, Plain]) -> dict[str, PropertyValue]:
    """:func:`from_plain` of a resource's properties; absent ones (``None``) are left out."""
    return {key: from_plain(value) for key, value in values.items() if value is not None}
