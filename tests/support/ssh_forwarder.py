#!/usr/bin/env python3
"""In the place of ssh -L: forwards a port of this machine, and prints its options to a file."""

import asyncio
import os
import sys
from pathlib import Path


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def main(arguments: list[str]) -> None:
    """Serve until the end of the process."""
    Path(os.environ["FORWARDER_ARGUMENTS"]).write_text("\n".join(arguments))
    address, port, host, target = arguments[arguments.index("-L") + 1].rsplit(":", 3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(target))
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    server = await asyncio.start_server(serve, address, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
