"""The Fediverse servers that tests connect to, started when a test first asks for them."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from standins.certificates import CertificateAuthority, ServerCertificate
from standins.listener import LOOPBACK
from standins.loop_thread import LoopThread, loop_thread
from standins.serving import ServedStandIn, served
from standins.software import SOFTWARE

from quart_app.settings import Settings
from tests.peers.browser import authorize
from tests.peers.hostile import HostileServer, hostile_servers
from tests.peers.snac import Snac, running_snac

NAMES = {name: f"{name}.test" for name in SOFTWARE}
"""The host names of the stand-ins, beside `localhost`."""


@dataclass(frozen=True)
class Peers:
    """All stand-ins by name, and what a client needs to reach them."""

    by_name: dict[str, ServedStandIn]
    ca_file: Path
    tls: ssl.SSLContext

    def __getitem__(self, name: str) -> ServedStandIn:
        return self.by_name[name]

    def addresses(self, hostname: str) -> list[str]:
        """Return what the tests' resolver says of a host name; nothing for an unknown one."""
        return [LOOPBACK] if hostname in {*NAMES.values(), "localhost"} else []

    def authorize(self, url: str, as_user: str = "ada", *, allow: bool = True) -> str:
        """Play the browser at a stand-in: see `tests.peers.browser.authorize`."""
        return authorize(url, as_user, verify=self.tls, allow=allow)

    def reset(self) -> None:
        """Make every stand-in as it was when it started."""
        for peer in self.by_name.values():
            peer.start()
            peer.records.reset()


def reaching(settings: Settings, peers: Peers) -> Settings:
    """Return the settings with requests to the peers on loopback allowed."""
    return replace(
        settings,
        allowed_private_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
        allowed_private_ports=(range(1, 65536),),
        extra_ca_file=peers.ca_file,
    )


def access_token(peer: ServedStandIn, username: str = "ada") -> str:
    """Return an access token that a user made in the settings of a stand-in."""
    app = peer.records.add_app("Mine", None, (), ["read"])
    return peer.records.add_token(app, username, ("read",))


@pytest.fixture(scope="session")
def peer_authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """The authority that signs the certificates of all peers."""
    return CertificateAuthority(tmp_path_factory.mktemp("peers"))


@pytest.fixture(scope="session")
def peer_certificate(peer_authority: CertificateAuthority) -> ServerCertificate:
    return peer_authority.certificate("localhost", LOOPBACK, *NAMES.values())


@pytest.fixture(scope="session")
def peer_tls(peer_authority: CertificateAuthority) -> ssl.SSLContext:
    """A TLS context that trusts every peer."""
    return ssl.create_default_context(cafile=peer_authority.file)


@pytest.fixture(scope="session")
def peer_thread() -> Iterator[LoopThread]:
    with loop_thread() as thread:
        yield thread


@pytest.fixture(scope="session")
def running_peers(
    peer_authority: CertificateAuthority,
    peer_certificate: ServerCertificate,
    peer_thread: LoopThread,
    peer_tls: ssl.SSLContext,
) -> Iterator[Peers]:
    with ExitStack() as stack:
        by_name = {
            name: stack.enter_context(
                served(software, peer_thread, peer_certificate, hostname=NAMES[name])
            )
            for name, software in SOFTWARE.items()
        }
        yield Peers(by_name, peer_authority.file, peer_tls)


@pytest.fixture
def peers(running_peers: Peers) -> Peers:
    """The stand-ins, as if each had just been started."""
    running_peers.reset()
    return running_peers


@pytest.fixture(scope="session")
def snac(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    peer_thread: LoopThread,
    peer_authority: CertificateAuthority,
) -> Iterator[Snac]:
    """The real server; its users are alice and bob."""
    folder = tmp_path_factory.mktemp("snac")
    with running_snac(request.config, folder, peer_thread, peer_authority) as snac:
        yield snac


@pytest.fixture(scope="session")
def hostile(
    peer_thread: LoopThread, peer_authority: CertificateAuthority
) -> Iterator[dict[str, HostileServer]]:
    """Servers that mean harm, by name: see `tests.peers.hostile.HOSTILE`."""
    with hostile_servers(peer_thread, peer_authority) as servers:
        yield servers
