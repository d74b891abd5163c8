"""``$v: 2`` diffs: every rule of the format, and a property against an independent model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import bson
import pytest
from bson import Binary, Int64, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from steward.restore.delta import DeltaError, apply_delta
from steward.restore.rawbson import MalformedBSON, build, elements

Doc = dict[str, Any]


def after(pre_image: Doc, diff: Doc) -> Doc:
    """The document after a diff; the order of fields is checked through :func:`items`."""
    return bson.decode(apply_delta(bson.encode(pre_image), bson.encode(diff)))


def items(document: Doc) -> list[tuple[str, Any]]:
    return list(document.items())


@pytest.mark.parametrize(
    ("pre", "diff", "post"),
    [
        pytest.param({"a": 1, "b": 2}, {"d": {"a": False, "zz": False}}, {"b": 2}, id="d, absent too"),
        pytest.param({"a": 1, "b": 2}, {"u": {"a": 9}}, {"a": 9, "b": 2}, id="u in place"),
        pytest.param({"a": 1}, {"u": {"c": 3}}, {"a": 1, "c": 3}, id="u appends if absent"),
        pytest.param({"a": 1, "b": 2}, {"i": {"a": 9}}, {"b": 2, "a": 9}, id="i moves to the end"),
        pytest.param(
            {"a": 1}, {"u": {"x": 1}, "i": {"y": 2, "a": 3}}, {"x": 1, "y": 2, "a": 3}, id="u before i"
        ),
        pytest.param({"a": None}, {"u": {"a": None, "b": None}}, {"a": None, "b": None}, id="u null"),
        pytest.param(
            {"a": 1},
            {"u": {"a": {"d": {"x": False}, "$set": 1}}},
            {"a": {"d": {"x": False}, "$set": 1}},
            id="values are data",
        ),
        pytest.param(
            {"a": 1}, {"u": {"a": "$x", "b": "a.b"}}, {"a": "$x", "b": "a.b"}, id="strings are data"
        ),
        pytest.param(
            {"a.b": 1, "$x": 2, "": 3, "0": 4},
            {"u": {"a.b": 5, "$x": 6, "": 7, "0": 8}},
            {"a.b": 5, "$x": 6, "": 7, "0": 8},
            id="literal names",
        ),
        pytest.param({"a": {"x": 1, "y": 2}}, {"sa": {"d": {"x": False}}}, {"a": {"y": 2}}, id="s"),
        pytest.param({"": {"x": 1}}, {"s": {"u": {"x": 2}}}, {"": {"x": 2}}, id="s of the empty name"),
        pytest.param({"s": {"x": 1}}, {"ss": {"u": {"x": 2}}}, {"s": {"x": 2}}, id="ss is the field s"),
        pytest.param({"0": {"x": 1}}, {"s0": {"u": {"x": 2}}}, {"0": {"x": 2}}, id="s0 is the field 0"),
        pytest.param({"b": 1}, {"sa": {"u": {"x": 2}}}, {"b": 1}, id="s of an absent field"),
        pytest.param({"a": 5, "b": 1}, {"sa": {"u": {"x": 2}}}, {"a": None, "b": 1}, id="s on a scalar"),
        pytest.param({"a": [1]}, {"sa": {"u": {"x": 2}}}, {"a": None}, id="document diff on an array"),
        pytest.param(
            {"a": {"x": 1}}, {"sa": {"a": True, "u0": 1}}, {"a": None}, id="array diff on a document"
        ),
        pytest.param({"a": [1, 2, 3]}, {"sa": {"a": True, "u1": 9}}, {"a": [1, 9, 3]}, id="array u"),
        pytest.param({"a": [1]}, {"sa": {"a": True, "u3": 9}}, {"a": [1, None, None, 9]}, id="array gap"),
        pytest.param({"a": [1, 2, 3]}, {"sa": {"a": True, "l": 2}}, {"a": [1, 2]}, id="array shorter"),
        pytest.param({"a": [1]}, {"sa": {"a": True, "l": 3}}, {"a": [1, None, None]}, id="array padded"),
        pytest.param(
            {"a": [1, 2, 3]}, {"sa": {"a": True, "l": 2, "u0": 7}}, {"a": [7, 2]}, id="l and u together"
        ),
        pytest.param(
            {"a": [{"x": 1}, {"y": 1}]},
            {"sa": {"a": True, "s1": {"i": {"z": 2}}}},
            {"a": [{"x": 1}, {"y": 1, "z": 2}]},
            id="array s",
        ),
        pytest.param(
            {"a": [1]}, {"sa": {"a": True, "s0": {"u": {"x": 1}}}}, {"a": [None]}, id="array s on scalar"
        ),
        pytest.param(
            {"a": [1]},
            {"sa": {"a": True, "s2": {"u": {"x": 1}}}},
            {"a": [1, None, None]},
            id="array s beyond",
        ),
        pytest.param({"a": [1]}, {"sa": {"a": True, "u0": None}}, {"a": [None]}, id="array u null"),
        pytest.param(
            {"a": list(range(12))},
            {"sa": {"a": True, "u2": "x", "u10": "y"}},
            {"a": [0, 1, "x", *range(3, 10), "y", 11]},
            id="numeric order",
        ),
        pytest.param(
            {"a": [[1, 2]]}, {"sa": {"a": True, "s0": {"a": True, "l": 1}}}, {"a": [[1]]}, id="array in array"
        ),
        pytest.param({"a": b"abcdef"}, {"b": {"a": {"o": 2, "d": b"XY"}}}, {"a": b"abXY"}, id="binary"),
        pytest.param({"a": b"ab"}, {"b": {"a": {"o": 3, "d": b"XY"}}}, {"a": b"ab"}, id="binary beyond"),
        pytest.param({"a": b"ab"}, {"b": {"a": {"o": 2, "d": b"XY"}}}, {"a": b"abXY"}, id="binary append"),
    ],
)
def test_rules(pre: Doc, diff: Doc, post: Doc) -> None:
    result = after(pre, diff)
    assert items(result) == items(post)
    assert bson.encode(result) == bson.encode(post)
    assert items(after(result, diff)) == items(post) or "i" in str(diff), "twice is once"


def test_binary_keeps_the_subtype_it_has() -> None:
    result = after({"a": Binary(b"abc", 5)}, {"b": {"a": {"o": 1, "d": Binary(b"Z", 9)}}})
    assert result["a"] == Binary(b"aZ", 5)


def test_bytes_that_python_would_change_stay() -> None:
    symbol = b"\x0es\0\x02\0\0\0x\0"
    pointer = b"\x0cp\0\x02\0\0\0y\0" + bytes(12)
    reference = bson.encode({"ref": {"a": 1, "$id": 2, "$ref": "c"}})[4:-1]
    body = symbol + pointer + reference + b"\x06u\0" + b"\x10n\0\x01\0\0\0"
    document = (len(body) + 5).to_bytes(4, "little") + body + b"\0"
    changed = apply_delta(document, bson.encode({"u": {"n": 2}}))
    assert changed == document.replace(b"\x10n\0\x01", b"\x10n\0\x02")


@pytest.mark.parametrize(
    "diff",
    [
        {},
        {"x": {}},
        {"u": 1},
        {"a": True, "u0": 1},
        {"u": {"a": 1}, "d": {"b": False}},
        {"sx": {"u": {"a": 1}}, "u": {"b": 1}},
        {"u": {"a": 1}, "i": {"a": 1}},
        {"u": {"list": 1}, "slist": {"a": True, "l": 1}},
        {"slist": {}},
        {"slist": {"a": False, "u0": 1}},
        {"slist": {"a": True, "u1": 1, "u0": 1}},
        {"slist": {"a": True, "u10": 1, "u9": 1}},
        {"slist": {"a": True, "l": 1, "u1": 1}},
        {"slist": {"a": True, "l": -1}},
        {"slist": {"a": True, "u0": 1, "l": 1}},
        {"slist": {"a": True, "ux": 1}},
        {"slist": {"a": True, "i0": 1}},
        {"slist": {"a": True, "d0": False}},
        {"slist": {"a": True, "s0": 1}},
        {"slist": {"a": True, "u99999999": 1}},
        {"b": {"bin": {"o": -1, "d": b""}}},
        {"b": {"bin": {"o": 1}}},
        {"b": {"bin": {"o": 1, "d": "text"}}},
    ],
)
def test_malformed_diffs_are_refused(diff: Doc) -> None:
    with pytest.raises(DeltaError, match="malformed"):
        after({"list": [1, 2], "bin": b"x"}, diff)


@given(st.binary(max_size=60))
def test_any_bytes_as_a_diff_are_refused_or_applied(junk: bytes) -> None:
    body = (len(junk) + 5).to_bytes(4, "little") + junk + b"\0"
    try:
        result = apply_delta(bson.encode({"a": 1}), body)
    except DeltaError:
        return
    list(elements(result))


# --- a property: for any two documents, the diff between them turns one into the other ---

NAMES = st.sampled_from(["a", "b", "s", "u", "i", "d", "l", "", "0", "1", "a.b", "$x", "é"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(-5, 5).map(Int64),
    st.floats(allow_nan=False, width=32),
    st.text(max_size=4).filter(lambda text: "\0" not in text),
    st.binary(max_size=4),
    st.builds(Timestamp, st.integers(0, 3), st.integers(0, 3)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6)


def same(left: Any, right: Any) -> bool:
    return bson.encode({"v": left}) == bson.encode({"v": right})


def difference(pre: Doc, post: Doc) -> Doc:
    """A differ of its own: walks the post-image in order, as the server's computes diffs."""
    kept = [name for name in pre if name in post]
    wanted = list(post)
    # The longest run of surviving fields whose order fits a prefix of the post-image stays in place.
    stay: list[str] = []
    position = 0
    for name in wanted:
        if name in kept and kept.index(name) >= position:
            stay.append(name)
            position = kept.index(name) + 1
        else:
            break
    diff: dict[str, Doc] = {}
    deletes = [name for name in pre if name not in post]
    if deletes:
        diff["d"] = dict.fromkeys(deletes, False)
    subs: Doc = {}
    updates: Doc = {}
    for name in stay:
        if same(pre[name], post[name]):
            continue
        if isinstance(pre[name], dict) and isinstance(post[name], dict):
            subs["s" + name] = difference(pre[name], post[name])
        elif isinstance(pre[name], list) and isinstance(post[name], list):
            subs["s" + name] = array_difference(pre[name], post[name])
        else:
            updates[name] = post[name]
    if updates:
        diff["u"] = updates
    inserts = {name: post[name] for name in wanted if name not in stay}
    if inserts:
        diff["i"] = inserts
    return {**diff, **subs}


def array_difference(pre: list[Any], post: list[Any]) -> Doc:
    diff: Doc = {"a": True}
    if len(post) < len(pre):
        diff["l"] = len(post)
    for index, value in enumerate(post):
        if index >= len(pre):
            diff[f"u{index}"] = value
        elif same(pre[index], value):
            continue
        elif isinstance(pre[index], dict) and isinstance(value, dict):
            diff[f"s{index}"] = difference(pre[index], value)
        elif isinstance(pre[index], list) and isinstance(value, list):
            diff[f"s{index}"] = array_difference(pre[index], value)
        else:
            diff[f"u{index}"] = value
    return diff


@settings(max_examples=150)
@given(pre=DOCUMENTS, post=DOCUMENTS)
def test_a_diff_turns_the_pre_image_into_the_post_image(pre: Doc, post: Doc) -> None:
    diff = difference(pre, post)
    if not diff:
        assert bson.encode(pre) == bson.encode(post)
        return
    raw = bson.encode(diff)
    once = apply_delta(bson.encode(pre), raw)
    assert once == bson.encode(post)
    assert apply_delta(once, raw) == once


@settings(max_examples=150)
@given(states=st.lists(DOCUMENTS, min_size=2, max_size=5), start=st.integers(0, 4))
def test_any_suffix_applied_again_leads_to_the_same_end(states: list[Doc], start: int) -> None:
    diffs = [difference(a, b) for a, b in pairwise(states)]
    raw = [bson.encode(d) for d in diffs if d]
    end = bson.encode(states[-1])
    again = end
    for diff in raw[start:]:
        again = apply_delta(again, diff)
    assert again == end


@given(DOCUMENTS)
def test_elements_and_build_are_inverse(document: Doc) -> None:
    raw = bson.encode(document)
    assert build(elements(raw)) == raw


@pytest.mark.parametrize(
    "raw", [b"", b"\5\0\0\0", b"\6\0\0\0\0\0", b"\x0c\0\0\0\x10a\0\1\0\0\0", b"\7\0\0\0\xaaa\0"]
)
def test_bytes_that_are_no_document(raw: bytes) -> None:
    with pytest.raises(MalformedBSON):
        list(elements(raw))
