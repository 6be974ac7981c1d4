"""Which pages may open a socket: on real servers, and behind a proxy that ends TLS."""

import base64
import contextlib
import http.client
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import pytest

from tests.clients import Page, sign_in
from tests.conftest import Serve
from tests.docs.blocks import PROXY
from tests.processes import DaphneServer, NginxServer, PrivateProcess

OPEN = "open"
REFUSED = "refused"

StartProxy = Callable[[DaphneServer], NginxServer]


@pytest.fixture
def start_proxy(serve: Serve, processes: list[PrivateProcess]) -> Iterator[StartProxy]:
    """Put nginx before a server, as the how-to tells."""
    del serve  # asked for so that the proxy ends before the servers do
    with contextlib.ExitStack() as stack:

        def start(server: DaphneServer) -> NginxServer:
            proxy = NginxServer(server, PROXY.text)
            processes.append(proxy)
            return stack.enter_context(proxy)

        yield start


def knock(
    port: int,
    *headers: str,
    target: str = "/ws/notifications/",
    tls: ssl.SSLContext | None = None,
) -> int | str:
    """
    Ask for a socket with these very header lines. The close code, "open" if a state
    comes, or "refused" if the server does not even understand.
    """
    nonce = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        *["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"],
        *[f"Sec-WebSocket-Key: {nonce}", *headers],
    ]
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        if tls is not None:
            wire = tls.wrap_socket(wire, server_hostname="127.0.0.1")
            stack.enter_context(wire)
        wire.sendall("\r\n".join([*lines, "", ""]).encode("latin1"))
        reader = stack.enter_context(wire.makefile("rb"))
        status = reader.readline()
        while reader.readline().strip():
            pass
        if b" 101 " not in status:
            return REFUSED
        first, length = reader.read(2)
        if first & 0x0F != 8:
            return OPEN
        return int(struct.unpack(">H", reader.read(length)[:2])[0])


class TestWithoutAProxy:
    def test_the_site_itself_may_and_nobody_else(self, serve: Serve) -> None:
        server = serve(env={"DJANGO_ALLOWED_HOSTS": "127.0.0.1,.example.com"})
        cookie = f"Cookie: {sign_in(server)}"
        host = f"127.0.0.1:{server.port}"
        own = f"http://{host}"

        def ask(*headers: str, target: str = "/ws/notifications/") -> int | str:
            return knock(server.port, cookie, *headers, target=target)

        assert ask(f"Host: {host}", f"Origin: {own}") == OPEN
        for origin in (
            f"http://127.0.0.1:{server.port + 1}",
            "http://127.0.0.1",
            f"https://{host}",
            f"ws://{host}",
            f"http://evil.{host}",
            "http://127.0.0.1.evil.example",
            "null",
        ):
            assert ask(f"Host: {host}", f"Origin: {origin}") == 4403, origin
        for headers in (
            [f"Host: {host}"],
            [f"Host: {host}", f"X-Origin: {own}"],
            [f"Host: {host}", f"Origin: {own}.evil.example"],
            [f"Host: {host}", f"Origin: {own}@evil.example"],
            [f"Host: {host}", f"Origin: {own}, http://evil.example"],
            [f"Host: {host}", f"Origin: http://evil.example\r\n {own}"],
            [f"Host: {host}", "Origin: file://"],
            [f"Host: {host}", f"Sec-WebSocket-Origin: {own}"],
            [f"Host: {host}", "Origin: http://evil.example", f"Origin: {own}"],
            [f"Host: {host}", f"Origin: {own}", "Origin: http://evil.example"],
            [f"Host: {host}", f"X-Forwarded-Host: {host}", "Origin: http://x.test"],
            # A host that the site does not have has no pages either.
            ["Host: evil.example", "Origin: http://evil.example"],
            ["Host: sub.example.com", "Origin: http://example.com"],
            ["Host: sub.example.com", f"Origin: {own}"],
        ):
            assert ask(*headers) in {4403, REFUSED}, headers
        # What stands in the request line is no host.
        evil = "http://evil.example"
        headers = [f"Host: {host}", f"Origin: {evil}"]
        path = f"{evil}/ws/notifications/"
        assert ask(*headers, target=path) in {4403, REFUSED}

    def test_nor_is_a_smuggled_header_believed(self, serve: Serve) -> None:
        """Where a proxy is trusted to name the scheme, and only by the real header."""
        server = serve(env={"DJANGO_HTTPS": "1"})
        host = f"127.0.0.1:{server.port}"
        both = f"Host: {host}", f"Origin: https://{host}"
        for fakes in (
            [],
            ["X_Forwarded_Proto: https"],
            ["X-Forwarded_Proto: https"],
            ["X-Forwarded-Proto: http", "X_Forwarded_Proto: https"],
            ["X_Forwarded_Proto: https", "X-Forwarded-Proto: http"],
            ["X-Forwarded-Proto: http", "X-Forwarded-Proto: https"],
            ["X-Forwarded-Protocol: https", "Forwarded: proto=https"],
            ["X-Forwarded-Proto : https"],
            ["X-Header: x", " X-Forwarded-Proto: https"],
        ):
            assert knock(server.port, *both, *fakes) in {4403, REFUSED}, fakes
        # Nobody is signed in: past the rule for origins.
        assert knock(server.port, *both, "X-Forwarded-Proto: https") == 4401


class TestBehindNginxThatEndsTls:
    async def test_the_runnable_server_signs_in_and_pushes(
        self, serve: Serve, start_proxy: StartProxy
    ) -> None:
        server = serve(env={"DJANGO_HTTPS": "1"})
        proxy = start_proxy(server)
        cookie = sign_in(proxy)
        async with Page(proxy, cookie) as page:
            assert page.mirror.epoch is not None
            code = "from themis.notifications import notify_user\n"
            code += "notify_user(User.objects.get(username='ada'), 'by TLS')"
            server.manage("shell", "-v0", "-c", code)
            await page.rings("by TLS")
        plain = http.client.HTTPConnection("127.0.0.1", proxy.plain_port, timeout=10)
        plain.request("GET", "/accounts/login/", headers={"Host": "127.0.0.1"})
        answer = plain.getresponse()
        location = answer.getheader("Location")
        assert (answer.status, location) == (301, "https://127.0.0.1/accounts/login/")
        plain.close()
        tls = http.client.HTTPSConnection(
            "127.0.0.1", proxy.port, timeout=10, context=proxy.tls
        )
        tls.request("GET", "/accounts/login/")
        answer = tls.getresponse()
        assert answer.status == 200
        assert "max-age=" in (answer.getheader("Strict-Transport-Security") or "")
        assert "; Secure" in (answer.getheader("Set-Cookie") or "")
        tls.close()

    def test_the_page_that_came_by_tls_may_and_nobody_else(
        self, serve: Serve, start_proxy: StartProxy
    ) -> None:
        server = serve(env={"DJANGO_HTTPS": "1"})
        proxy = start_proxy(server)
        cookie = f"Cookie: {sign_in(proxy)}"
        host = f"127.0.0.1:{proxy.port}"
        own = f"Origin: https://{host}"

        def ask(*headers: str) -> int | str:
            return knock(proxy.port, f"Host: {host}", cookie, *headers, tls=proxy.tls)

        assert ask(own) == OPEN
        # What the client says of the scheme is replaced by what nginx knows.
        assert ask(own, "X-Forwarded-Proto: http") == OPEN
        for origin in (
            f"http://{host}",
            f"https://127.0.0.1:{proxy.port + 1}",
            "https://127.0.0.1",
            f"http://127.0.0.1:{server.port}",
            f"https://127.0.0.1:{server.port}",
            f"https://evil.{host}",
            f"wss://{host}",
            "null",
        ):
            assert ask(f"Origin: {origin}") == 4403, origin
        for headers in (
            [],
            [f"X_Origin: https://{host}"],
            [own, "Origin: https://evil.example"],
            ["Origin: https://evil.example", own],
            ["Origin: https://evil.example", "X-Forwarded-Host: evil.example"],
        ):
            assert ask(*headers) in {4403, REFUSED}, headers
        # Without TLS: whatever the client says, the page is no page of HTTPS.
        host = f"127.0.0.1:{proxy.plain_port}"
        for fakes in (
            [],
            ["X-Forwarded-Proto: https"],
            ["X_Forwarded_Proto: https"],
            ["x-forwarded-proto: https", "X-Forwarded-Proto: https"],
        ):
            headers = [f"Host: {host}", cookie, f"Origin: https://{host}", *fakes]
            assert knock(proxy.plain_port, *headers) == 4403, fakes
