"""What stands where OpenAI does: session JSON over TLS, 30 ms after it was asked for.

A program of its own, so that its work is nobody's CPU but its own. It checks little, since the
strict stand-in of ``flask_chatkit.testing`` does that: here it must not be the bottleneck.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import ssl
import sys
import time

DELAY = 0.030
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self):
        self.buffer = b""

    def connection_made(self, transport):
        """Remember where answers go."""
        self.transport = transport

    def data_received(self, data):
        """Answer each request that is complete, a moment later."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[: end + 2]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            raw, self.buffer = self.buffer[end + 4 : size], self.buffer[size:]
            asyncio.get_running_loop().call_later(DELAY, self.answer, head.lower(), raw)

    def answer(self, head, raw):
        """Answer one request, with every header and field that a client reads past."""
        if self.transport.is_closing():
            return
        status, answer = created(head, raw)
        content = json.dumps(answer, indent=2).encode()
        self.transport.write(
            f"HTTP/1.1 {status}\r\n"
            "Date: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n"
            "Connection: keep-alive\r\n"
            "openai-version: 2020-10-01\r\n"
            f"x-request-id: req_{secrets.token_hex(16)}\r\n"
            "openai-processing-ms: 30\r\n"
            "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Server: upstream\r\n"
            "\r\n".encode()
            + content
        )


def created(head, raw):
    """Make the session that was asked for, or say what was wrong with the question."""
    body = json.loads(raw or b"{}")
    if (
        not head.startswith(b"post /v1/chatkit/sessions http/1.1\r\n")
        or b"\r\nopenai-beta: chatkit_beta=v1\r\n" not in head
        or b"\r\nauthorization: bearer sk-" not in head
        or not body.get("user")
        or not body.get("workflow", {}).get("id")
    ):
        return "400 Bad Request", {
            "error": {
                "message": "This is no documented request for a session.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        }
    return "200 OK", {
        "id": f"cksess_{secrets.token_hex(24)}",
        "object": "chatkit.session",
        "client_secret": f"ek_{secrets.token_hex(32)}",
        "expires_at": int(time.time()) + 600,
        "status": "active",
        "user": body["user"],
        "workflow": {
            "id": body["workflow"]["id"],
            "version": None,
            "state_variables": None,
            "tracing": {"enabled": True},
        },
        "rate_limits": {"max_requests_per_1_minute": 10},
        "max_requests_per_1_minute": 10,
        "chatkit_configuration": {
            "automatic_thread_titling": {"enabled": True},
            "file_upload": {"enabled": False, "max_file_size": 512, "max_files": 10},
            "history": {"enabled": True, "recent_threads": None},
        },
    }


async def main(certificate):
    """Listen on a free port, tell which, and serve until the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", 0, ssl=context, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
