"""A bare grpc.aio server that echoes bytes, to measure the transport without Backlane.

`python -m tests.benchmarks.echo_server` prints its address, and serves until its stdin ends.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Final

import grpc

from tests.benchmarks.machine import CHECKOUT

ECHO: Final = "/backlane.bench.Echo/Echo"


async def _echo(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


async def _serve() -> None:
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    service, method = ECHO.strip("/").split("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


@contextmanager
def echo_server() -> Iterator[tuple[str, int]]:
    """Run the echo server in its own process, and yield its address and process id."""
    command = [sys.executable, "-m", __name__]
    with Popen(command, cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
