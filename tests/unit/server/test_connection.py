"""The wire: what a client sees byte by byte."""

import asyncio
import os
import socket

import pytest

from corten.server.body import ClientGoneError
from corten.server.connection import MAX_AHEAD, MAX_DROPPED
from corten.server.exchange import Exchange
from tests.unit.server.peer import connected, settled

pytestmark = pytest.mark.asyncio


async def echo(exchange: Exchange) -> None:
    """Answers with what it was sent."""
    body = await exchange.body.read(1 << 24)
    await exchange.reply(200, [("X-Target", exchange.head.target)], body)


async def silent(exchange: Exchange) -> None:
    """Answers without having read."""
    await exchange.reply(200, [], b"no")


def post(body: bytes, target: str = "/a") -> bytes:
    return b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (target.encode(), len(body), body)


CHUNKED = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
X = b"HTTP/1.1 200 OK\r\nX-Target: /x\r\nContent-Length: 0\r\n\r\n"


async def test_requests_follow_each_other_on_one_connection():
    async with connected(echo) as peer:
        for word in (b"one", b"two", b""):
            await peer.send(post(word))
            assert (await peer.until(b"\r\n\r\n" + word)).endswith(b"Content-Length: %d\r\n\r\n%b" % (len(word), word))


async def test_pipelined_requests_are_answered_in_order():
    async with connected(echo) as peer:
        await peer.send(post(b"first") + CHUNKED + GET + post(b"last", "/z"))
        answer = await peer.until(b"\r\n\r\nlast")
        assert [answer.index(word) for word in (b"first", b"abcde", b"/x", b"/z")] == sorted(
            answer.index(word) for word in (b"first", b"abcde", b"/x", b"/z")
        )


async def test_every_way_to_cut_a_request_reads_the_same():
    wire = CHUNKED + GET
    for cut in range(1, len(wire)):
        async with connected(echo) as peer:
            await peer.send(wire[:cut])
            await asyncio.sleep(0)
            await peer.send(wire[cut:])
            assert (await peer.until(X)).endswith(b"Content-Length: 5\r\n\r\nabcde" + X), cut


async def test_keep_alive_ends_when_asked():
    async with connected(echo) as peer:
        await peer.send(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"Connection: close" in await peer.rest()
    async with connected(echo) as peer:
        await peer.send(b"GET /x HTTP/1.0\r\n\r\n")
        assert (await peer.rest()).startswith(b"HTTP/1.1 200 OK")


async def test_head_has_the_length_and_no_body():
    async def hello(exchange: Exchange) -> None:
        await exchange.reply(200, [], b"hello")

    async with connected(hello) as peer:
        await peer.send(b"HEAD /x HTTP/1.1\r\n\r\n" + GET)
        assert await peer.until(b"hello") == (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        )


@pytest.mark.parametrize("status", [204, 304])
async def test_bodiless_statuses_have_no_length(status):
    async def answer(exchange: Exchange) -> None:
        await exchange.reply(status, [], b"")

    async with connected(answer) as peer:
        await peer.send(GET)
        assert b"Content-Length" not in await peer.until(b"\r\n\r\n")


async def test_the_client_is_told_to_continue_only_when_its_body_is_wanted():
    head = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with connected(echo) as peer:
        await peer.send(head)
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(b"ok")
        assert (await peer.until(b"ok")).startswith(b"HTTP/1.1 200")
    async with connected(silent) as peer:
        await peer.send(head)
        assert (await peer.rest()).startswith(b"HTTP/1.1 200")


async def test_a_small_unread_body_is_dropped_for_the_next_request():
    async with connected(silent) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        await peer.until(b"no")
        await peer.send(b"x" * 1000 + GET)
        assert (await peer.until(b"no")).count(b"HTTP/1.1 200") == 1


async def test_a_client_that_ends_while_its_unread_body_is_dropped_is_let_go():
    async with connected(silent) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        await peer.until(b"no")
        peer.half_close()
        assert await peer.rest() == b""


async def test_a_large_unread_body_ends_the_connection_after_its_answer():
    async with connected(silent) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_DROPPED * 4))
        sending = asyncio.create_task(peer.send(b"x" * MAX_DROPPED * 3))
        assert (await peer.rest()).startswith(b"HTTP/1.1 200")
        await sending


async def test_an_unread_body_stops_the_sender():
    """Back-pressure: a handler that does not read keeps a client from filling memory."""
    reading = asyncio.Event()
    total = 16 << 20

    async def slow(exchange: Exchange) -> None:
        await reading.wait()
        size = 0
        async for piece in exchange.body.chunks():
            size += len(piece)
        await exchange.reply(200, [], str(size).encode())

    async with connected(slow) as peer:
        sent = 0
        await peer.send(b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % total)
        try:
            while sent < total:
                sent += await asyncio.wait_for(_send_some(peer.socket), 0.2)
        except TimeoutError:
            pass
        assert sent < 4 << 20
        reading.set()
        while sent < total:
            sent += await _send_some(peer.socket, min(65536, total - sent))
        assert await peer.until(str(total).encode())


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _send_some(sock: socket.socket, size: int = 65536) -> int:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return sock.send(b"x" * size)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_writer(sock.fileno(), _set, ready)
            try:
                await ready
            finally:
                loop.remove_writer(sock.fileno())


async def test_a_slow_reader_stops_the_answer():
    written = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal written
        exchange.begin(200, [])
        for _ in range(256):
            await exchange.write(b"y" * 65536)
            written += 65536
        exchange.end()

    async with connected(flood) as peer:
        await peer.send(GET)
        await asyncio.sleep(0.2)
        assert written < 4 << 20
        assert (await peer.until(b"0\r\n\r\n")).count(b"y") == 256 * 65536


async def test_a_stream_is_chunked_and_the_connection_goes_on():
    async def stream(exchange: Exchange) -> None:
        exchange.begin(200, [("Content-Type", "application/json")])
        await exchange.write(b"{}\n")
        await exchange.write(b"")
        await exchange.write(b"ab")
        exchange.end()

    async with connected(stream) as peer:
        for _ in range(2):
            await peer.send(GET)
            assert (await peer.until(b"\r\n0\r\n\r\n")).endswith(b"\r\n\r\n3\r\n{}\n\r\n2\r\nab\r\n0\r\n\r\n")
    async with connected(stream) as peer:
        await peer.send(b"GET /x HTTP/1.0\r\n\r\n")
        assert (await peer.rest()).endswith(b"\r\n\r\n{}\nab")


async def test_the_head_of_a_stream_is_sent_before_its_body():
    go = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        exchange.begin(200, [])
        await go.wait()
        await exchange.write(b"done")
        exchange.end()

    async with connected(wait) as peer:
        await peer.send(GET)
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        go.set()
        await peer.until(b"0\r\n\r\n")


async def test_a_broken_stream_is_seen_cut_off():
    async def broken(exchange: Exchange) -> None:
        exchange.begin(200, [])
        await exchange.write(b"half")
        raise OSError("disk")

    async with connected(broken) as peer:
        await peer.send(GET)
        assert (await peer.rest()).endswith(b"4\r\nhalf\r\n")


async def test_a_client_that_leaves_cancels_what_follows_it():
    ended = asyncio.Event()

    async def follow(exchange: Exchange) -> None:
        exchange.follow_client()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with connected(follow) as peer:
        await peer.send(GET)
        await settled(lambda: peer.connection._exchange is not None)
        peer.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_client_that_leaves_cancels_nothing_else():
    """A container being created is created, whoever listens."""
    go, finished = asyncio.Event(), asyncio.Event()

    async def create(exchange: Exchange) -> None:
        await go.wait()
        finished.set()
        await exchange.reply(201, [], b"")

    async with connected(create) as peer:
        await peer.send(GET)
        await settled(lambda: peer.connection._exchange is not None)
        peer.close()
        await settled(lambda: peer.connection._lost or peer.connection._eof)
        go.set()
        await asyncio.wait_for(finished.wait(), 5)


async def test_a_half_closed_client_still_gets_its_answer():
    async def slow(exchange: Exchange) -> None:
        exchange.follow_client()
        await asyncio.sleep(0.05)
        await exchange.reply(200, [], b"late")

    async with connected(slow) as peer:
        await peer.send(GET)
        peer.half_close()
        assert (await peer.rest()).endswith(b"late")


async def test_pipelined_requests_before_a_half_close_are_all_answered():
    async with connected(echo) as peer:
        await peer.send(GET * 3)
        peer.half_close()
        assert await peer.rest() == X * 3


async def test_a_request_cut_off_in_its_body_fails_its_reader():
    seen: list[Exception] = []

    async def reader(exchange: Exchange) -> None:
        try:
            await exchange.body.read(100)
        except ClientGoneError as exc:
            seen.append(exc)
            raise

    async with connected(reader) as peer:
        await peer.send(b"POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        peer.half_close()
        assert await peer.rest() == b""
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /a HTTP/1.1\r\nX: " + b"a" * 70000, 431),
    ],
)
async def test_a_bad_head_is_answered_and_ends_the_connection(wire, status):
    async with connected(echo) as peer:
        await peer.send(wire)
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b'{"message":' in answer


async def test_smuggled_requests_are_never_run():
    seen: list[str] = []

    async def note(exchange: Exchange) -> None:
        seen.append(exchange.head.target)
        await echo(exchange)

    async with connected(note) as peer:
        await peer.send(
            b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"
        )
        assert (await peer.rest()).startswith(b"HTTP/1.1 400")
    assert seen == []


# Giving the connection away.


def hijacker(taken: asyncio.Queue[tuple[int, bytes]]):
    async def take(exchange: Exchange) -> None:
        await exchange.body.read(1000)
        client = exchange.hijack("application/vnd.docker.raw-stream", [("Api-Version", "1.51")])
        taken.put_nowait(await client.detach())

    return take


CAREFUL = b"POST /attach HTTP/1.1\r\nUser-Agent: Docker-Client/28.2.2\r\n"
UPGRADE = CAREFUL + b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: %d\r\n\r\n%b"
SWITCHED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nApi-Version: 1.51\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)


@pytest.mark.parametrize("body", [b"", b'{"Detach":false}'])
async def test_bytes_sent_with_the_head_are_handed_over(body):
    taken: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    async with connected(hijacker(taken)) as peer:
        await peer.send(UPGRADE % (len(body), body) + b"early bytes")
        descriptor, early = await asyncio.wait_for(taken.get(), 5)
        assert early == b"early bytes"
        with socket.socket(fileno=descriptor) as theirs:
            assert await peer.until(SWITCHED) == SWITCHED
            theirs.setblocking(True)
            theirs.settimeout(5)
            await peer.send(b"more")
            assert theirs.recv(100) == b"more"
            peer.half_close()
            assert theirs.recv(100) == b""
            theirs.sendall(b"output after the end of input")
            theirs.shutdown(socket.SHUT_WR)
            assert await peer.rest() == b"output after the end of input"


@pytest.mark.parametrize("pause", [0, 0.0005])
async def test_no_byte_is_lost_or_doubled_whenever_it_comes(pause):
    taken: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    payload = os.urandom(200_000)
    async with connected(hijacker(taken)) as peer:
        await peer.send(UPGRADE % (0, b""))

        async def feed() -> None:
            for start in range(0, len(payload), 5000):
                await peer.send(payload[start : start + 5000])
                await asyncio.sleep(pause)
            peer.half_close()

        feeding = asyncio.create_task(feed())
        descriptor, early = await asyncio.wait_for(taken.get(), 5)
        found = bytearray(early)
        with socket.socket(fileno=descriptor) as theirs:
            theirs.setblocking(False)
            loop = asyncio.get_running_loop()
            while piece := await asyncio.wait_for(loop.sock_recv(theirs, 65536), 5):
                found += piece
        await feeding
        assert bytes(found) == payload


async def test_without_upgrade_the_stream_follows_a_plain_200():
    taken: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    async with connected(hijacker(taken)) as peer:
        await peer.send(CAREFUL + b"Content-Length: 2\r\n\r\n{}GET is only stdin here\r\n\r\n")
        descriptor, early = await asyncio.wait_for(taken.get(), 5)
        os.close(descriptor)
        assert early == b"GET is only stdin here\r\n\r\n"
        head = await peer.rest()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Upgrade" not in head
        assert b"chunked" not in head


async def test_a_refused_upgrade_is_a_plain_answer_and_the_connection_goes_on():
    async def refuse(exchange: Exchange) -> None:
        exchange.hijack("x/y", [])
        await exchange.reply(404, [], b"gone")

    async with connected(refuse) as peer:
        for _ in range(2):
            await peer.send(UPGRADE % (0, b""))
            assert (await peer.until(b"gone")).startswith(b"HTTP/1.1 404")


async def test_the_connection_outlives_the_server_once_it_is_given_away():
    taken: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    async with connected(hijacker(taken)) as peer:
        await peer.send(UPGRADE % (0, b""))
        descriptor, _ = await asyncio.wait_for(taken.get(), 5)
        await peer.until(SWITCHED)
        peer.connection.abort()
        await settled(lambda: peer.connection._lost)
        os.write(descriptor, b"still here")
        os.close(descriptor)
        assert await peer.rest() == b"still here"


async def test_a_client_gone_before_the_hand_over_costs_no_descriptor():
    gone: list[BaseException] = []
    go = asyncio.Event()

    async def take(exchange: Exchange) -> None:
        await go.wait()
        try:
            await exchange.hijack("x/y", []).detach()
        except ClientGoneError as exc:
            gone.append(exc)

    async with connected(take) as peer:
        await peer.send(UPGRADE % (0, b""))
        await settled(lambda: peer.connection._exchange is not None)
        peer.connection.abort()
        await settled(lambda: peer.connection._lost)
        before = len(os.listdir("/proc/self/fd"))
        go.set()
        await settled(lambda: bool(gone))
        assert len(os.listdir("/proc/self/fd")) == before


async def test_stopping_ends_idle_and_following_and_lets_others_finish():
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        await exchange.reply(200, [], b"finished")

    async with connected(slow) as idle, connected(slow) as busy:
        await busy.send(GET)
        await settled(lambda: busy.connection._exchange is not None)
        ends = [idle.connection.stop(), busy.connection.stop()]
        assert await idle.rest() == b""
        go.set()
        assert (await busy.rest()).endswith(b"finished")
        await asyncio.wait_for(asyncio.gather(*ends), 5)


async def test_bytes_of_a_following_request_are_bounded():
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        await silent(exchange)

    async with connected(slow) as peer:
        await peer.send(GET)
        try:
            async with asyncio.timeout(0.3):
                while True:
                    await _send_some(peer.socket)
        except TimeoutError:
            pass
        assert len(peer.connection._buffer) < MAX_AHEAD + (1 << 19)
        go.set()
        answers = await peer.rest()
        assert answers.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 431" in answers
