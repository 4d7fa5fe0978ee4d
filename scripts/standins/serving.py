"""Serve a stand-in under Hypercorn on loopback, in a thread of this process, with TLS in front."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from socket import create_connection

from hypercorn.asyncio import serve
from hypercorn.config import Config

from standins.application import create_stand_in
from standins.certificates import ServerCertificate
from standins.listener import LOOPBACK, ReservedPort
from standins.loop_thread import LoopThread
from standins.records import StandIn
from standins.software import Software
from standins.tls_front import TlsFront

_PATIENCE_SECONDS = 20


class ServedStandIn(TlsFront):
    """A stand-in on its port: what it knows, and where it is."""

    def __init__(
        self,
        records: StandIn,
        plain_port: int,
        thread: LoopThread,
        certificate: ServerCertificate,
        *,
        hostname: str,
    ) -> None:
        super().__init__(plain_port, thread, certificate, hostname=hostname)
        self.records = records
        self.plain_url = f"http://localhost:{plain_port}"  # for browsers without its authority


@contextmanager
def served(
    software: Software,
    thread: LoopThread,
    certificate: ServerCertificate,
    *,
    hostname: str = "localhost",
) -> Iterator[ServedStandIn]:
    """Serve a stand-in until the block ends."""
    reserved, stop, records = ReservedPort(), asyncio.Event(), StandIn(software)
    port = reserved.number
    config = Config()
    config.bind = [f"{LOOPBACK}:{port}"]
    config.errorlog = None
    app = create_stand_in(records)
    task = thread.start(serve(app, config, shutdown_trigger=stop.wait))
    try:
        _wait_until_listening(port, task)
        peer = ServedStandIn(records, port, thread, certificate, hostname=hostname)
        peer.start()
        yield peer
        peer.close()
    finally:
        thread.call(stop.set)
        task.result(_PATIENCE_SECONDS)
        reserved.release()


def _wait_until_listening(port: int, task: "Future[None]") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not task.done() and time.monotonic() < deadline:
        with suppress(OSError):
            create_connection((LOOPBACK, port)).close()
            return
        time.sleep(0.005)
    raise TimeoutError(f"the stand-in does not listen on port {port}")
