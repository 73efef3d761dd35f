"""A browser's connection, as thin as can be: what benches of hours under fire talk through."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field

MARK = b'"assistant_message.content_part.text_delta"'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]*)", re.IGNORECASE)


@dataclass
class Answer:
    """What came back.

    :param status: HTTP's.
    :param head: status line and headers.
    :param body: all of it, without the chunks' sizes.
    :param first: seconds from the request to the first delta of text; None without one.
    :param silence: the longest wait for anything to arrive, in seconds.
    :param seconds: from the request to the last byte.
    """

    status: int
    head: bytes
    body: bytes
    first: float | None
    silence: float
    seconds: float

    def events(self):
        """The server-sent events."""
        parts = self.body.replace(b": hb\n", b"").split(b"\n\n")
        return [json.loads(part[6:]) for part in parts if part.startswith(b"data: ")]


@dataclass
class Visitor:
    """Somebody with a cookie and a token of their own, behind an address of their own.

    :param port: the site's, on loopback.
    :param address: what the proxy in front would tell of them.
    :param base: the chat's URLs below.
    """

    port: int
    address: str
    cookie: bytes = b""
    token: bytes = b""
    base: str = "/chatkit"
    refused: dict[int, int] = field(default_factory=dict)

    def request(self, method, path, body=b"", more=b""):
        """Write a request, with the headers that a browser sends from the site's own page."""
        lines = [
            f"{method} {path} HTTP/1.1".encode(),
            f"Host: localhost:{self.port}".encode(),
            f"Origin: http://localhost:{self.port}".encode(),
            b"Sec-Fetch-Site: same-origin",
            b"X-Forwarded-For: " + self.address.encode(),
            b"Connection: close",
            f"Content-Length: {len(body)}".encode(),
        ]
        lines += [b"Cookie: " + self.cookie] if self.cookie else []
        lines += [b"Authorization: Bearer " + self.token] if self.token else []
        return b"\r\n".join(lines) + b"\r\n" + more + b"\r\n" + body

    async def call(self, method, path, body=b"", kind=b"application/json"):
        """Send a request, and read the whole answer.

        :raises OSError: the connection broke, or there is none.
        """
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.request(method, path, body, b"Content-Type: " + kind + b"\r\n"))
            return await self._read(reader, begun)
        except (asyncio.IncompleteReadError, ValueError, IndexError) as error:
            raise ConnectionError(f"{type(error).__name__}: {error}"[:200]) from None
        finally:
            writer.close()

    async def _read(self, reader, begun):
        last, silence, first = begun, 0.0, None
        head = await reader.readuntil(b"\r\n\r\n")
        now = time.perf_counter()
        silence, last = max(silence, now - last), now
        status = int(head.split(b" ", 2)[1])
        self.refused[status] = self.refused.get(status, 0) + 1
        body = bytearray()
        if _CHUNKED.search(head):
            while True:
                size = int(await reader.readuntil(b"\r\n"), 16)
                now = time.perf_counter()
                silence, last = max(silence, now - last), now
                chunk = (await reader.readexactly(size + 2))[:-2]
                if not size:
                    break
                body += chunk
                if first is None and MARK in chunk:
                    first = time.perf_counter() - begun
        elif (length := _LENGTH.search(head)) is not None:
            body += await reader.readexactly(int(length[1]))
        else:
            while chunk := await reader.read(65536):
                now = time.perf_counter()
                silence, last = max(silence, now - last), now
                body += chunk
                if first is None and MARK in body:
                    first = now - begun
        now = time.perf_counter()
        silence = max(silence, now - last)
        return Answer(status, head, bytes(body), first, silence, now - begun)

    async def meet(self):
        """Get a cookie and a token."""
        answer = await self.call("POST", f"{self.base}/secret", b"{}")
        if answer.status == 200:
            self.token = json.loads(answer.body)["client_secret"].encode()
            cookie = _COOKIE.search(answer.head)
            self.cookie = cookie[1] if cookie else self.cookie
        return answer

    async def say(self, text, thread=None, files=()):
        """Send a message, and read its answer."""
        content = [{"type": "input_text", "text": text}]
        said = {"content": content, "attachments": list(files), "inference_options": {}}
        call = {"type": "threads.create", "params": {"input": said}}
        if thread is not None:
            call = {
                "type": "threads.add_user_message",
                "params": {"input": said, "thread_id": thread},
            }
        return await self.call("POST", f"{self.base}/api", json.dumps(call).encode())

    async def ask(self, kind, **params):
        """Send one of the calls that are answered with JSON."""
        body = json.dumps({"type": kind, "params": params}).encode()
        return await self.call("POST", f"{self.base}/api", body)

    async def upload(self, name, mime, data):
        """Send a file in one call; its id, or None where it was refused."""
        boundary = b"bench-boundary"
        head = (
            b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; '
            b'filename="' + name.encode() + b'"\r\nContent-Type: ' + mime.encode() + b"\r\n\r\n"
        )
        body = head + data + b"\r\n--" + boundary + b"--\r\n"
        kind = b"multipart/form-data; boundary=" + boundary
        answer = await self.call("POST", f"{self.base}/attachments", body, kind)
        return json.loads(answer.body)["id"] if answer.status == 200 else None
