"""The provider protocol: checks, differences and calls, for every resource type alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pulumi.provider.experimental import provider as protocol

from sandbox.aws_plugin import schema, settings
from sandbox.aws_plugin.differences import Difference
from sandbox.aws_plugin.errors import StandInError, explain
from sandbox.aws_plugin.registry import function, resource_type
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.values import UNKNOWN, Properties, from_properties, to_properties

#: Longest time of one operation, in seconds, unless the program sets custom timeouts.
OPERATION_TIMEOUT_S = 120.0

Result = TypeVar("Result")


class StandIn(protocol.Provider):
    """One configured provider; AWS calls run in threads, so that operations stay parallel."""

    def __init__(self) -> None:
        self._aws: settings.Aws | None = None

    @property
    def aws(self) -> settings.Aws:
        """The configured endpoint."""
        if self._aws is None:
            raise StandInError("the provider was used before it was configured")
        return self._aws

    async def check_config(self, request: protocol.CheckRequest) -> protocol.CheckResponse:
        """Refuse provider settings that are unknown, of a wrong type or not carried out."""
        given = to_properties(request.new_inputs)
        problems = settings.check(settings.parse(given))
        return protocol.CheckResponse(inputs=request.new_inputs, failures=_failures(problems))

    async def configure(self, request: protocol.ConfigureRequest) -> protocol.ConfigureResponse:
        """Take the settings and ask the endpoint who we are, so that a wrong one fails at once."""
        self._aws = settings.Aws(settings.parse(to_properties(request.args)))
        await self._run(self._aws.verify, 0)
        # Secrets, outputs and references arrive as plain values; the engine keeps the marks.
        return protocol.ConfigureResponse(supports_preview=True)

    async def check(self, request: protocol.CheckRequest) -> protocol.CheckResponse:
        """Refuse arguments that the SDK does not know or the stand-in does not do; make up a name."""
        resource = _resource(request.urn)
        given, old = to_properties(request.new_inputs), to_properties(request.old_inputs)
        problems = list(resource.check(given))
        inputs = resource.named(given, old, request.name, request.random_seed.hex()[:7] or "0000000")
        return protocol.CheckResponse(inputs=from_properties(inputs), failures=_failures(problems))

    async def diff(self, request: protocol.DiffRequest) -> protocol.DiffResponse:
        """Compare the state with the new arguments."""
        resource = _resource(request.urn)
        state, inputs = to_properties(request.old_state), to_properties(request.new_inputs)
        found = resource.differences(self.aws, state, inputs)
        replaces = sorted({_root(d) for d in found if d.kind.name.endswith("_REPLACE")})
        name = resource.named_by
        return protocol.DiffResponse(
            changes=bool(found),
            replaces=replaces,
            # Two resources cannot have one name, so the old one goes first when the name stays.
            delete_before_replace=bool(replaces and name and state.get(name) == inputs.get(name)),
            diffs=sorted({_root(d) for d in found}),
            detailed_diff={d.path: protocol.PropertyDiff(d.kind, input_diff=False) for d in found},
        )

    async def create(self, request: protocol.CreateRequest) -> protocol.CreateResponse:
        """Make the resource; in a preview, say what will be known only afterwards."""
        resource, inputs = _resource(request.urn), to_properties(request.properties)
        if request.preview:
            unknown = dict.fromkeys(resource.unknown_before_creation, UNKNOWN)
            return protocol.CreateResponse("", from_properties({**unknown, **inputs}))

        def make() -> tuple[str, Properties]:
            resource_id = resource.create(self.aws, inputs)
            return resource_id, self._state(resource, resource_id, inputs)

        resource_id, state = await self._run(make, request.timeout)
        return protocol.CreateResponse(resource_id, from_properties(state))

    async def read(self, request: protocol.ReadRequest) -> protocol.ReadResponse:
        """The state as the endpoint has it; a missing resource answers without an id."""
        resource = _resource(request.urn)
        known, given = to_properties(request.properties), to_properties(request.inputs)
        state = await self._run(lambda: resource.read(self.aws, request.resource_id, known), 0)
        if state is None:
            return protocol.ReadResponse()
        inputs = {
            name: state[name]
            for name in resource.arguments
            if state.get(name) is not None and (name in given or _told_by_aws(resource, name))
        }
        return protocol.ReadResponse(request.resource_id, from_properties(state), from_properties(inputs))

    async def update(self, request: protocol.UpdateRequest) -> protocol.UpdateResponse:
        """Change the resource in place."""
        resource = _resource(request.urn)
        state, inputs = to_properties(request.olds), to_properties(request.news)
        if request.preview:
            return protocol.UpdateResponse(from_properties({**state, **inputs}))

        def change() -> Properties:
            resource.update(self.aws, request.resource_id, state, inputs)
            return self._state(resource, request.resource_id, {"region": state.get("region"), **inputs})

        return protocol.UpdateResponse(from_properties(await self._run(change, request.timeout)))

    async def delete(self, request: protocol.DeleteRequest) -> None:
        """Remove the resource."""
        resource, state = _resource(request.urn), to_properties(request.properties)
        await self._run(lambda: resource.delete(self.aws, request.resource_id, state), request.timeout)

    async def invoke(self, request: protocol.InvokeRequest) -> protocol.InvokeResponse:
        """Call a function of the provider."""
        call = function(request.tok)
        arguments = to_properties(request.args)
        return protocol.InvokeResponse(from_properties(await self._run(lambda: call(self.aws, arguments), 0)))

    def _state(self, resource: ResourceType, resource_id: str, inputs: Properties) -> Properties:
        """The state right after a change, read back from the endpoint."""
        state = resource.read(self.aws, resource_id, inputs)
        if state is None:
            raise StandInError(f"{resource.type_name} {resource_id} is gone right after it was written")
        return state

    async def _run(self, work: Callable[[], Result], timeout_s: float) -> Result:
        limit = timeout_s or OPERATION_TIMEOUT_S
        try:
            return await asyncio.wait_for(asyncio.to_thread(work), limit)
        except TimeoutError as error:
            raise StandInError(f"no answer from the AWS endpoint within {limit:.0f} s") from error
        except (ClientError, BotoCoreError) as error:
            raise StandInError(explain(error, self.aws.endpoint("sts"))) from error


def _resource(urn: str) -> ResourceType:
    """The row of a URN's type; inside a component the type follows the component's, after a ``$``."""
    return resource_type(urn.split("::")[2].rpartition("$")[2])


def _told_by_aws(resource: ResourceType, name: str) -> bool:
    """Whether a value that the program never gave still belongs to the arguments when AWS has one."""
    return name not in resource.computed and name != "region"


def _root(difference: Difference) -> str:
    return difference.path.split(".")[0].split("[")[0]


def _failures(problems: Iterable[schema.Problem]) -> list[protocol.CheckFailure]:
    return [protocol.CheckFailure(problem.path, problem.reason) for problem in problems]
