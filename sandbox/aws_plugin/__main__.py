"""The plugin's process: one gRPC server on loopback, started and ended by the Pulumi CLI."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.provider import StandIn

VERSION = "7.51.1"

#: How often the process looks whether the engine that started it still lives, in seconds.
PARENT_CHECK_S = 2.0


class OneLineErrors(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Answers a :class:`StandInError` with its text alone instead of "Unexpected <class ...>"."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Wrap one method of the server."""
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        inner = handler.unary_unary

        async def call(request: Any, context: Any) -> Any:
            try:
                return await inner(request, context)
            except StandInError as error:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


async def serve(engine_address: str) -> None:
    """Serve until the engine ends; the port is the only thing written to stdout."""
    server = grpc.aio.server(interceptors=[OneLineErrors()], options=_GRPC_CHANNEL_OPTIONS)
    servicer = ProviderServicer(sys.argv[1:], VERSION, StandIn(), engine_address=engine_address)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # A killed engine cannot end its plugins; the changed parent tells. The launcher says who it was:
    # the engine may die while this process still imports its libraries.
    engine = int(os.environ.get("STEWARD_ENGINE_PID") or os.getppid())
    while os.getppid() == engine:
        await asyncio.sleep(PARENT_CHECK_S)
    await server.stop(grace=0)


def main() -> int:
    """Command line of a provider plugin: the engine's address, and log flags that are not used."""
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if not addresses:
        sys.stderr.write("pulumi-resource-aws: started by the Pulumi CLI, not by hand\n")
        return 2
    try:
        asyncio.run(serve(addresses[0]))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
