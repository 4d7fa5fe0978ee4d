"""The outbound client against servers that are slow, huge, lying or somewhere else."""

import asyncio
import gzip
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from standins.certificates import CertificateAuthority

from quart_app.fediverse.errors import (
    ServerBusy,
    ServerError,
    ServerFailed,
    ServerMoved,
    ServerNotSupported,
    ServerTooSlow,
    ServerUnreachable,
)
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.guarded_transport import MOST_BYTES
from quart_app.fediverse.public_addresses import IPAddress
from quart_app.fediverse.types import Timeouts
from tests.tls_servers import (
    LOOPBACK,
    NAME,
    SOON,
    Answer,
    Handle,
    Request,
    answering,
    client,
    read_request,
    resolving,
    routes,
    tls_server,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ACCOUNT = {"id": "1", "username": "ada"}


@pytest.fixture
def authority(peer_authority: CertificateAuthority) -> CertificateAuthority:
    return peer_authority


@pytest.fixture
async def fediverse(authority: CertificateAuthority) -> AsyncIterator[Fediverse]:
    async with client(authority.file) as made:
        yield made


async def failure(fediverse: Fediverse, host: str) -> ServerError:
    """Return how a request fails."""
    with pytest.raises(ServerError) as failed:
        await fediverse.verify_credentials(host, "token")
    return failed.value


def sends(write: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Handle:
    """Return a handler that reads a request and then writes as it likes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await write(writer)

    return handle


async def test_an_honest_server_is_asked_over_one_connection(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async with tls_server(authority, answering(lambda _: Answer(ACCOUNT))) as server:
        for _ in range(3):
            assert (await fediverse.verify_credentials(server.host, "token")).username == "ada"
        assert server.connections == 1


async def test_slow_headers_end_in_time(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        for character in b"HTTP/1.1 200 OK\r\n" + 100 * b"X-Slow: yes\r\n":
            writer.write(bytes([character]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with tls_server(authority, sends(write)) as server:
        started = time.monotonic()
        assert type(await failure(fediverse, server.host)) is ServerTooSlow
        assert time.monotonic() - started < SOON.total.total_seconds() + 1


async def test_a_body_byte_by_byte_ends_in_time(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with tls_server(authority, sends(write)) as server:
        started = time.monotonic()
        assert type(await failure(fediverse, server.host)) is ServerTooSlow
        assert time.monotonic() - started < SOON.total.total_seconds() + 1


async def test_endless_interim_answers_end_in_time(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with tls_server(authority, sends(write)) as server:
        assert type(await failure(fediverse, server.host)) is ServerTooSlow


async def test_an_endless_body_is_left_at_the_limit(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    written = 0

    async def write(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + 0x1000 * b" " + b"\r\n")
            written += 0x1000
            await writer.drain()

    async with tls_server(authority, sends(write)) as server:
        assert type(await failure(fediverse, server.host)) is ServerNotSupported
    assert written < 100 * MOST_BYTES  # the buffers between the two are a few megabytes at most


async def test_endless_headers_are_refused(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while True:
            writer.write(b"X-Long: " + 1000 * b"a" + b"\r\n")
            await writer.drain()

    async with tls_server(authority, sends(write)) as server:
        assert type(await failure(fediverse, server.host)) is ServerUnreachable


@pytest.mark.parametrize(("size", "fits"), [(MOST_BYTES - 100, True), (MOST_BYTES, False)])
async def test_the_limit_holds_after_decompression(
    fediverse: Fediverse, authority: CertificateAuthority, *, size: int, fits: bool
) -> None:
    body = b'{"id": "1", "username": "ada", "note": "' + size * b"a" + b'"}'
    answer = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})
    async with tls_server(authority, answering(lambda _: answer)) as server:
        if fits:
            await fediverse.verify_credentials(server.host, "token")
        else:
            assert type(await failure(fediverse, server.host)) is ServerNotSupported


async def test_a_bomb_of_gzip_is_left_at_the_limit(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    """Each kilobyte of it is a megabyte of zeros; decompressed to its end, it would be too slow."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    start = packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    written = 0

    async def write(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(HEAD + b"Content-Encoding: gzip\r\n\r\n" + start)
        while True:
            writer.write(megabyte)
            written += len(megabyte)
            await writer.drain()

    async with tls_server(authority, sends(write)) as server:
        assert type(await failure(fediverse, server.host)) is ServerNotSupported
    assert written < 100 * MOST_BYTES


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd", "x" * 100])
async def test_other_and_nested_encodings_are_refused(
    fediverse: Fediverse, authority: CertificateAuthority, encoding: str
) -> None:
    answer = Answer(ACCOUNT, headers={"Content-Encoding": encoding})
    async with tls_server(authority, answering(lambda _: answer)) as server:
        assert type(await failure(fediverse, server.host)) is ServerNotSupported


async def test_broken_gzip_is_no_answer(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    answer = Answer(b"not gzip", headers={"Content-Encoding": "gzip"})
    async with tls_server(authority, answering(lambda _: answer)) as server:
        assert type(await failure(fediverse, server.host)) is ServerUnreachable


@pytest.mark.parametrize(
    "location",
    [
        "https://169.254.169.254/latest/meta-data/",
        "http://localhost/",
        "/elsewhere",
        "https://[",
        "",
    ],
)
async def test_no_redirect_is_followed(
    fediverse: Fediverse, authority: CertificateAuthority, location: str
) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Answer:
        seen.append(request)
        return Answer(ACCOUNT, statuses[len(seen) - 1], headers={"Location": location})

    statuses = [300, 301, 302, 303, 305, 307, 308]
    async with tls_server(authority, answering(answer)) as server:
        for _ in statuses:
            assert type(await failure(fediverse, server.host)) is ServerNotSupported
    assert {request.target for request in seen} == {"/api/v1/accounts/verify_credentials"}


async def test_a_redirect_to_another_server_is_a_hint(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    answer = Answer(b"", HTTPStatus.FOUND, headers={"Location": "https://new.example/@a"})
    async with tls_server(authority, answering(lambda _: answer)) as server:
        error = await failure(fediverse, server.host)
    assert isinstance(error, ServerMoved)
    assert error.sentence == f"{server.host} has moved to new.example. Enter that address instead."


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b"<h1>Hello</h1>", content_type="text/html"), ServerNotSupported),
        (Answer(ACCOUNT, content_type="text/html"), ServerNotSupported),
        (Answer(b"<h1>Hello</h1>"), ServerNotSupported),
        (Answer(b'{"id": "1", "username": "a", "n": NaN}'), ServerNotSupported),
        (Answer(b'{"id": "1", "username": "a"'), ServerNotSupported),
        (Answer('{"id": "1", "username": "a"}'.encode("utf-16")), ServerNotSupported),
        (Answer(b'{"id": "1", "username": "\xff"}'), ServerNotSupported),
        (Answer(b"[" * 2000), ServerNotSupported),
        (Answer(b"[" * 60_000), ServerNotSupported),
        (Answer({**ACCOUNT, "emojis": [[] for _ in range(6000)]}), ServerNotSupported),
        (Answer(b'{"id":' * 9_000), ServerNotSupported),
        (Answer(b'{"id": ' + 9_000 * b"1" + b"}"), ServerNotSupported),
        (Answer([ACCOUNT]), ServerNotSupported),
        (Answer(b""), ServerNotSupported),
        (Answer({}, HTTPStatus.NOT_FOUND), ServerNotSupported),
        (Answer({}, HTTPStatus.INTERNAL_SERVER_ERROR), ServerFailed),
        (Answer(b"<h1>Oops</h1>", HTTPStatus.BAD_GATEWAY, "text/html"), ServerFailed),
        (Answer({}, HTTPStatus.TOO_MANY_REQUESTS), ServerBusy),
    ],
)
async def test_anything_but_a_small_json_object_is_a_sentence(
    fediverse: Fediverse, authority: CertificateAuthority, answer: Answer, kind: type[ServerError]
) -> None:
    async with tls_server(authority, answering(lambda _: answer)) as server:
        error = await failure(fediverse, server.host)
        assert type(error) is kind
        assert server.host in error.sentence


@pytest.mark.parametrize(
    ("given", "seconds"), [("7", 7), ("0", 1), ("99999", 3600), ("soon", 60), ("-1", 60), ("", 60)]
)
async def test_a_limited_request_says_when_to_try_again(
    fediverse: Fediverse, authority: CertificateAuthority, given: str, seconds: int
) -> None:
    answer = Answer({}, HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": given})
    async with tls_server(authority, answering(lambda _: answer)) as server:
        assert (await failure(fediverse, server.host)).retry_after_seconds == seconds


async def test_a_reset_connection_is_a_sentence(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )

    async with tls_server(authority, sends(write)) as server:
        assert type(await failure(fediverse, server.host)) is ServerUnreachable
        assert type(await failure(fediverse, server.host)) is ServerUnreachable


async def test_an_answer_that_is_no_http_is_a_sentence(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()

    async with tls_server(authority, sends(write)) as server:
        assert type(await failure(fediverse, server.host)) is ServerUnreachable


async def test_a_certificate_for_another_name_is_refused(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    handle = answering(lambda _: Answer(ACCOUNT))
    async with tls_server(authority, handle, name="other.example") as server:
        error = await failure(fediverse, server.host)
    assert type(error) is ServerUnreachable
    assert "certificate" in error.sentence


async def test_a_certificate_of_an_unknown_authority_is_refused(
    fediverse: Fediverse, tmp_path: Path
) -> None:
    handle = answering(lambda _: Answer(ACCOUNT))
    async with tls_server(CertificateAuthority(tmp_path), handle) as server:
        error = await failure(fediverse, server.host)
    assert type(error) is ServerUnreachable
    assert "certificate" in error.sentence


async def test_name_connection_and_tls_share_one_limit(authority: CertificateAuthority) -> None:
    """The server accepts the connection and never begins with TLS."""

    async def resolve(_host: str) -> list[IPAddress]:
        await asyncio.sleep(0.8)
        return [ip_address("127.0.0.1")]

    timeouts = Timeouts(connect=timedelta(seconds=1), total=timedelta(seconds=30))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client(authority.file, resolve=resolve, timeouts=timeouts) as fediverse:
            started = time.monotonic()
            error = await failure(fediverse, f"{NAME}:{silent.getsockname()[1]}")
            assert type(error) is ServerTooSlow
            assert time.monotonic() - started < 1.7


async def test_a_request_that_is_given_up_leaves_no_connection(fediverse: Fediverse) -> None:
    """Like the server above; here the user is gone before TLS begins."""
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # the client's part of TLS, and then the end
        ended.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        host = f"{NAME}:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fediverse.verify_credentials(host, "token"), 0.3)
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_closed_port_is_a_sentence(fediverse: Fediverse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert type(await failure(fediverse, f"{NAME}:{port}")) is ServerUnreachable


async def test_an_unknown_name_is_a_sentence(fediverse: Fediverse) -> None:
    assert type(await failure(fediverse, "unknown.example")) is ServerUnreachable


async def test_a_resolver_that_hangs_ends_in_time(authority: CertificateAuthority) -> None:
    async def resolve(_host: str) -> list[IPAddress]:
        await asyncio.sleep(60)
        return []

    async with client(authority.file, resolve=resolve) as fediverse:
        started = time.monotonic()
        assert type(await failure(fediverse, NAME)) is ServerTooSlow
        assert time.monotonic() - started < SOON.connect.total_seconds() + 1


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        [],
    ],
)
async def test_a_name_with_any_private_address_is_never_connected_to(
    authority: CertificateAuthority, addresses: list[str]
) -> None:
    """127.0.0.1 is the only permitted address here, as a public one would be."""
    async with (
        tls_server(authority, answering(lambda _: Answer(ACCOUNT))) as server,
        client(
            authority.file,
            allowed_private_networks=[ip_network("127.0.0.1")],
            resolve=resolving({NAME: addresses}),
        ) as fediverse,
    ):
        error = await failure(fediverse, server.host)
        assert type(error) is ServerUnreachable
        # The sentence must not reveal that the name leads to a private address.
        assert error.sentence == (
            f"{server.host} can't be reached. Check its address, or try again later."
        )
        assert server.connections == 0


async def test_loopback_is_closed_unless_an_operator_opens_it(
    authority: CertificateAuthority,
) -> None:
    async with (
        tls_server(authority, answering(lambda _: Answer(ACCOUNT))) as server,
        client(authority.file, allowed_private_networks=[]) as fediverse,
    ):
        assert type(await failure(fediverse, server.host)) is ServerUnreachable
        assert server.connections == 0


async def test_a_port_that_is_not_allowed_is_never_connected_to(
    authority: CertificateAuthority,
) -> None:
    async with (
        tls_server(authority, answering(lambda _: Answer(ACCOUNT))) as server,
        client(authority.file, allowed_private_ports=[]) as fediverse,
    ):
        assert type(await failure(fediverse, server.host)) is ServerUnreachable
        assert server.connections == 0


async def test_an_answer_of_dns_that_changes_is_not_asked_for_a_second_time(
    authority: CertificateAuthority,
) -> None:
    """The first answer is checked, and the connection goes to it: 127.0.0.2 is never tried."""
    answers = iter(["127.0.0.1", "127.0.0.2", "10.0.0.1"])
    asked: list[str] = []

    async def resolve(host: str) -> list[IPAddress]:
        asked.append(host)
        await asyncio.sleep(0)
        return [ip_address(next(answers))]

    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("sockname")[0])
        await answering(lambda _: Answer(ACCOUNT))(reader, writer)

    async with (
        tls_server(authority, handle) as server,
        client(authority.file, allowed_private_networks=[LOOPBACK], resolve=resolve) as fediverse,
    ):
        await fediverse.verify_credentials(server.host, "token")
        await fediverse.verify_credentials(server.host, "token")
    assert (asked, seen) == ([NAME], ["127.0.0.1"])


async def test_the_next_address_is_tried_where_one_does_not_answer(
    authority: CertificateAuthority,
) -> None:
    resolve = resolving({NAME: ["127.0.0.9", "127.0.0.1"]})
    async with (
        tls_server(authority, answering(lambda _: Answer(ACCOUNT))) as server,
        client(authority.file, resolve=resolve) as fediverse,
    ):
        await fediverse.verify_credentials(server.host, "token")


async def test_two_requests_at_a_time_and_the_others_wait(authority: CertificateAuthority) -> None:
    running, most = 0, 0

    async def write(writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)
        running -= 1
        body = b'{"id": "1", "username": "ada"}'
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    patient = Timeouts(timedelta(seconds=10), timedelta(seconds=20))
    async with (
        tls_server(authority, sends(write)) as server,
        client(authority.file, timeouts=patient) as fediverse,
    ):
        await asyncio.gather(
            *(fediverse.verify_credentials(server.host, "token") for _ in range(8))
        )
    assert most == 2


async def test_a_queue_that_does_not_move_is_a_sentence(authority: CertificateAuthority) -> None:
    async def write(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with tls_server(authority, sends(write)) as server, client(authority.file) as fediverse:
        failures = await asyncio.gather(*(failure(fediverse, server.host) for _ in range(4)))
    assert sorted(type(each).__name__ for each in failures) == [
        *("ServerBusy", "ServerBusy", "ServerTooSlow", "ServerTooSlow")
    ]


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    fediverse: Fediverse,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {NAME} login me password canary")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[Request] = []
    paths = {
        "/api/v1/accounts/verify_credentials": Answer(ACCOUNT),
        "/api/v1/apps": Answer({"client_id": "1", "client_secret": "s"}),
        "/oauth/token": Answer({"access_token": "t"}),
        "/.well-known/nodeinfo": Answer({"links": []}),
        "/api/v1/instance": Answer({"title": "Here"}),
    }
    async with tls_server(authority, routes(paths, seen)) as server:
        instance = await fediverse.recognize(server.host)
        app = await fediverse.register_app(
            instance, name="n", website="https://w", redirect_uri="https://w/r", scope="read"
        )
        await fediverse.exchange_code(
            instance, app, code="c", redirect_uri="https://w/r", code_verifier="v" * 43
        )
        await fediverse.verify_credentials(server.host, "token")
    authorizations = [each.headers.get("authorization") for each in seen]
    assert set(authorizations) == {None, "Bearer token"}


async def test_a_cookie_that_a_server_sets_is_not_sent_back(
    fediverse: Fediverse, authority: CertificateAuthority
) -> None:
    seen: list[Request] = []
    answer = Answer(ACCOUNT, headers={"Set-Cookie": "session=another-users; Path=/"})
    path = "/api/v1/accounts/verify_credentials"
    async with tls_server(authority, routes({path: answer}, seen)) as server:
        for _ in range(2):
            await fediverse.verify_credentials(server.host, "token")
    assert len(seen) == 2
    assert not any("cookie" in request.headers for request in seen)
