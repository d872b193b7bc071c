"""Whatever bytes come, the server neither hangs nor dies, and the next client is served."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from corten.server.exchange import Exchange
from tests.unit.server.peer import connected

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
PARTS = st.sampled_from(
    [GET, b"POST / HTTP/1.1\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"3\r\nabc\r\n",
     b"0\r\n\r\n", b"abc", b"Connection: Upgrade\r\nUpgrade: tcp\r\n", b"Expect: 100-continue\r\n", b"\0", b"GET "]
)  # fmt: skip
NOISE = st.lists(PARTS | st.binary(max_size=20), min_size=1, max_size=12).map(b"".join)


async def echo(exchange: Exchange) -> None:
    await exchange.reply(200, [], await exchange.body.read(1 << 20))


@settings(max_examples=60)
@given(NOISE)
def test_no_bytes_bring_it_down(noise):
    async def run() -> None:
        async with connected(echo) as peer:
            await peer.send(noise)
            peer.half_close()
            await peer.rest()
        async with connected(echo) as peer:
            await peer.send(GET)
            assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    asyncio.run(run())
