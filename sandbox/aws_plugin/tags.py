"""Tags between Pulumi, which has mappings, and the services, which have lists of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Plain, Properties

#: What most services call the two halves of a tag.
KEY_VALUE = ("Key", "Value")
#: What KMS calls them.
TAG_KEY_VALUE = ("TagKey", "TagValue")


def pairs(tags: Mapping[str, str], words: tuple[str, str] = KEY_VALUE) -> list[dict[str, str]]:
    """A list of keys and values, sorted."""
    key_word, value_word = words
    return [{key_word: key, value_word: value} for key, value in sorted(tags.items())]


def mapping(found: Iterable[Mapping[str, str]], words: tuple[str, str] = KEY_VALUE) -> dict[str, str]:
    """The other way round."""
    key_word, value_word = words
    return {pair[key_word]: pair[value_word] for pair in found}


def outputs(aws: Aws, tags: Mapping[str, str]) -> Properties:
    """What a state has of a resource's tags: its own ones, and all."""
    return {"tags": aws.own_tags(tags) or None, "tagsAll": dict(tags)}


def surplus(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """Keys of the old tags that have to go."""
    return sorted(set(old) - set(new))


def change(
    untag: Callable[..., object],
    tag: Callable[..., object],
    state: Properties,
    wanted: Plain,
    words: tuple[str, str] = KEY_VALUE,
    **resource: str,
) -> None:
    """Bring the tags from those of ``state`` to the ``wanted`` ones.

    Args:
        untag: the client's method that removes tags; services refuse an empty list.
        tag: the one that writes them.
        state: as it was read.
        wanted: all tags, the provider's default ones included.
        words: what the service calls the halves of a tag.
        resource: the argument that tells both methods which resource.
    """
    if gone := surplus(state.get("tagsAll") or {}, wanted):
        untag(TagKeys=gone, **resource)
    if wanted:
        tag(Tags=pairs(wanted, words), **resource)
