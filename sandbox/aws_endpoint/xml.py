"""Small XML documents in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import xmltodict  # type: ignore[import-untyped,unused-ignore]

from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response

_Value = str | None | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def parse(data: bytes, root: str, lists: Sequence[str] = ()) -> dict[str, Any]:
    """The content of ``root``; elements named in ``lists`` are always lists.

    Raises:
        AwsError: ``MalformedXML``.
    """
    try:
        document = xmltodict.parse(data, force_list=tuple(lists), strip_whitespace=False)
    except Exception as error:  # expat's error class differs between builds of Python
        raise AwsError("MalformedXML", "The XML you provided was not well-formed.", 400) from error
    if root not in document:
        raise AwsError("MalformedXML", f"The XML you provided is not a {root} document.", 400)
    content = document[root]
    if isinstance(content, dict):
        # Whitespace is kept for the sake of keys; between elements it means nothing.
        content.pop("#text", None)
        return content
    return {}


def _element(name: str, value: _Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"<{name}>{escape(value)}</{name}>"
    if isinstance(value, Mapping):
        return f"<{name}>{''.join(_element(k, v) for k, v in value.items())}</{name}>"
    return "".join(_element(name, item) for item in value)


def response(
    root: str, content: Mapping[str, _Value], headers: Sequence[tuple[str, str]] = (), status: int = 200
) -> Response:
    """A response with an S3 document; None values are left out, sequences repeat their element."""
    inner = "".join(_element(name, value) for name, value in content.items())
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{root}>'
    body = text.encode()
    return Response(
        status, [*headers, ("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], (body,)
    )
