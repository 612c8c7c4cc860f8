"""An HTTP proxy that knows CONNECT and nothing else: `python proxy.py ADDRESS`. It prints its port, and then where it was asked to go."""

# ruff: noqa: T201 - what it prints is how the test knows that it was used

import asyncio
import sys


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
    print(method.decode(), target.decode(), flush=True)
    host, _, port = target.decode().rpartition(":")
    there_reader, there_writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, sys.argv[1], 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
