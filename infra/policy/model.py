"""What a rule sees: the resources of one stack as plain values, and how they refer to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


class Unknown:
    """The type of :data:`UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


#: A value that a preview cannot know yet. Rules pass over it; they see the value at the update itself.
UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """One resource; ``properties`` under the names of the wire, as ``kmsMasterKeyId``."""

    type: str
    name: str
    properties: Mapping[str, Any]
    property_dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Property -> names of the resources that its value was made from."""
    protect: bool = False
    urn: str | None = None

    def get(self, path: str) -> Any:
        """The value at a dotted path; ``None`` when there is none, :data:`UNKNOWN` below an unknown one."""
        value: Any = self.properties
        for part in path.split("."):
            if value is UNKNOWN:
                return UNKNOWN
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def values(self, path: str) -> list[Any]:
        """The value at a path as a list; empty when there is none."""
        found = self.get(path)
        if found is None:
            return []
        return list(found) if isinstance(found, (list, tuple)) else [found]

    @property
    def region(self) -> Any:
        """The region by the ARN, else by the argument; ``None`` means the stack's own."""
        arn = self.get("arn")
        if isinstance(arn, str) and arn.count(":") > 3 and arn.split(":")[3]:
            return arn.split(":")[3]
        given = self.get("region")
        return UNKNOWN if given is None and arn is UNKNOWN else given

    def __str__(self) -> str:
        return f"{self.type.split(':')[-1]} {self.name}"


@dataclass(frozen=True)
class Violation:
    """One resource that breaks a rule; the text says how, without naming the resource."""

    resource: Resource
    text: str


@dataclass(frozen=True)
class Rule:
    """A rule in words and as a function."""

    id: str
    what: str
    why: str
    mend: str
    check: Callable[[Stack], Iterable[Violation]]
    of_inputs: bool = False
    """Whether it must see what the program wrote and not what the cloud made of it; such a rule
    looks at each resource alone."""

    def violations(self, stack: Stack) -> list[Violation]:
        """What breaks the rule, each once."""
        return list({(v.resource.name, v.text): v for v in self.check(stack)}.values())


class Stack:
    """All resources of a stack."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)

    def of(self, *types: str) -> list[Resource]:
        """The resources of some types."""
        return [r for r in self.resources if r.type in types]

    @cached_property
    def environment(self) -> str | None:
        """The environment by the tag that most resources carry; ``None`` when none has one."""
        tags = (r.get("tags.Environment") for r in self.resources)
        counted = Counter(tag for tag in tags if isinstance(tag, str))
        return counted.most_common(1)[0][0] if counted else None

    def referred(self, resource: Resource, path: str, types: Iterable[str], *by: str) -> list[Resource]:
        """The resources of ``types`` that a property names by one of their properties ``by``.

        What a preview does not know is joined by the dependencies that Pulumi keeps of each
        property. They also choose where several resources share the value.
        """
        targets = self.of(*types)
        by_dependency = self.sources(resource, path, types)
        values = resource.values(path)
        known = [v for v in values if v is not UNKNOWN]
        by_value = [t for t in targets if any(t.get(key) in known for key in by if t.get(key) is not None)]
        both = [t for t in by_value if t in by_dependency]
        unknown = len(known) < len(values) or any(t.get(key) is UNKNOWN for t in by_dependency for key in by)
        if not unknown:
            return both or by_value
        return [t for t in targets if t in by_value or t in by_dependency]

    def sources(self, resource: Resource, path: str, types: Iterable[str]) -> list[Resource]:
        """The resources of ``types`` that a property was made from, also by way of others.

        An alarm waits for the policy of its topic, say, and takes the topic's ARN from there.
        """
        wanted, named, found = frozenset(types), {r.name: r for r in self.resources}, []
        ahead = list(resource.property_dependencies.get(path.split(".")[0], frozenset()))
        seen = {resource.name}
        while ahead:
            name = ahead.pop()
            if name in seen or name not in named:
                continue
            seen.add(name)
            if named[name].type in wanted:
                found.append(named[name])
            else:
                ahead += [n for names in named[name].property_dependencies.values() for n in names]
        return found


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string below a value with its path, as ``rules[0].id``."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from strings(item, f"{path}[{index}]")
