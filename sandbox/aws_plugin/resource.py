"""What a resource type of the stand-in is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from sandbox.aws_plugin import schema
from sandbox.aws_plugin.differences import Difference, compare, replacing
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Plain, Properties


class ResourceType(ABC):
    """One resource type: which arguments it carries out, and how.

    A state is the arguments as AWS has them plus the outputs, under the SDK's names.
    """

    #: The type token, as ``aws:s3/bucket:Bucket``.
    type_name: str
    #: Arguments that are carried out; ``region`` goes without saying where the SDK has it.
    carried: frozenset[str]
    #: Arguments whose change needs a new resource, as the genuine provider's documentation says.
    replaces: frozenset[str] = frozenset()
    #: Arguments that AWS fills in when they are not given.
    computed: frozenset[str] = frozenset()
    #: Arguments that only Pulumi knows, so that reading keeps them from the state.
    remembered: frozenset[str] = frozenset()
    #: Outputs that are no arguments.
    made: frozenset[str] = frozenset()
    #: The argument that names the resource in AWS, made up when not given.
    named_by: str | None = None

    @property
    def arguments(self) -> frozenset[str]:
        """:attr:`carried`, and ``region`` where the SDK has it."""
        known = schema.fields(schema.arguments_class(self.type_name))
        return self.carried | ({"region"} & set(known))

    @property
    def unknown_before_creation(self) -> frozenset[str]:
        """What a preview of a creation cannot know."""
        return self.made | self.computed | ({"region"} & self.arguments)

    @property
    def tagged(self) -> bool:
        """Whether the resource carries tags."""
        return "tags" in self.carried

    def check(self, inputs: Properties) -> Iterator[schema.Problem]:
        """What is wrong with the arguments, or beyond the stand-in."""
        arguments = schema.arguments_class(self.type_name)
        yield from schema.check(arguments, inputs)
        for name in sorted(set(inputs) & set(schema.fields(arguments)) - self.arguments):
            if inputs[name] is not None:
                yield schema.Problem(name, f"the stand-in does not do this argument of {self.type_name}")

    def named(self, inputs: Properties, old: Properties, name: str, suffix: str) -> Properties:
        """The arguments with a name of the resource: the given, the old or a new one."""
        key = self.named_by
        if key is None or inputs.get(key) is not None:
            return inputs
        return {**inputs, key: old.get(key) or f"{name}-{suffix}"}

    def identify(self, aws: Aws, inputs: Properties) -> str:
        """The id of a resource whose arguments hold its name, without asking for the resource."""
        del aws  # for rows whose ids are ARNs, which need the account
        return str(inputs[self.named_by or ""])

    def differences(self, aws: Aws, state: Properties, inputs: Properties) -> list[Difference]:
        """What an update would change."""
        found: list[Difference] = []
        for name in sorted(self.arguments):
            if inputs.get(name) is None and (name in self.computed or name == "region"):
                continue
            changed = compare(state.get(name), inputs.get(name), name)
            must_replace = name in self.replaces or name == "region"
            found += map(replacing, changed) if must_replace else changed
        if self.tagged and not any(d.path.startswith("tags") for d in found):
            found += compare(state.get("tagsAll"), aws.all_tags(inputs.get("tags")), "tagsAll")
        return found

    @staticmethod
    def region(aws: Aws, values: Mapping[str, Plain]) -> str:
        """The region of a resource."""
        return str(values.get("region") or aws.region)

    @abstractmethod
    def create(self, aws: Aws, inputs: Properties) -> str:
        """Make the resource; returns its id."""

    @abstractmethod
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        """The state as AWS has it, ``None`` when the resource is gone.

        ``known`` is the last state, or the arguments right after a creation, or empty at an import.
        """

    @abstractmethod
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        """Bring the resource from ``state`` to ``inputs``."""

    @abstractmethod
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        """Remove the resource; one that is gone already is fine."""

    def remember(self, known: Properties) -> Properties:
        """The part of the last state that AWS does not tell."""
        return {name: known[name] for name in self.remembered if known.get(name) is not None}
