"""What a database holds, document by document, and how two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

#: Databases of the server itself, which are no part of an application's data.
SYSTEM_DATABASES = ("admin", "config", "local")


#: Namespace -> {BSON of the _id: SHA-256 of the document's BSON}.
Fingerprints = dict[str, dict[bytes, bytes]]


def fingerprints(client: MongoClient[Any]) -> Fingerprints:
    """What all application data are now."""
    raw: bson.CodecOptions[RawBSONDocument] = bson.CodecOptions(document_class=RawBSONDocument)
    found: dict[str, dict[bytes, bytes]] = {}
    for database in client.list_database_names():
        if database in SYSTEM_DATABASES:
            continue
        for name in client[database].list_collection_names():
            documents = client[database].get_collection(name, codec_options=raw).find()
            found[f"{database}.{name}"] = {
                bson.encode({"_id": d["_id"]}): hashlib.sha256(d.raw).digest() for d in documents
            }
    return found


def differences(
    expected: Mapping[str, Mapping[bytes, bytes]], got: Mapping[str, Mapping[bytes, bytes]]
) -> list[str]:
    """What differs between two sets of fingerprints, one line each; empty when they are equal.

    A collection without documents counts as an absent one: a dump has no
    documents to carry it by where the server does not list it.
    """
    lines = []
    for name in sorted(expected.keys() | got.keys()):
        left, right = expected.get(name, {}), got.get(name, {})
        lost, extra = left.keys() - right.keys(), right.keys() - left.keys()
        changed = [key for key in left.keys() & right.keys() if left[key] != right[key]]
        if lost or extra or changed:
            lines.append(f"{name}: {len(lost)} lost, {len(extra)} too many, {len(changed)} changed")
    return lines
