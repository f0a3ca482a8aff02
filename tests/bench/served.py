"""Real daemons and zero-latency loopback servers for the benchmarks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench.parts import script
from tests.support.daemon_process import DaemonProcess

#: Answers every request at once with a chat reply of about a kilobyte, streamed if asked so.
CHAT_SERVER = """
import asyncio, sys, uvloop, json
def body(content):
    return json.dumps({"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[
        {"index":0,"finish_reason":"stop","message":{"role":"assistant","content":content}}],
        "usage":{"prompt_tokens":100,"completion_tokens":200,"total_tokens":300}}).encode()
WHOLE = body("z" * 900)
PLAIN = (b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
         % len(WHOLE)) + WHOLE
CHUNKS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
PAUSE_S = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
def event(value): return b"data: " + json.dumps(value).encode() + b"\\n\\n"
def chunk(delta, finish=None):
    return event({"id":"c1","object":"chat.completion.chunk","created":1,"model":"m",
                  "choices":[{"index":0,"delta":delta,"finish_reason":finish}]})
def framed(data): return b"%x\\r\\n%b\\r\\n" % (len(data), data)
EVENTS = [framed(chunk({"content": "word "})) for _ in range(CHUNKS)]
LAST = (framed(chunk({}, "stop")) + framed(event({"id":"c1","object":"chat.completion.chunk",
    "created":1,"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":CHUNKS,
    "total_tokens":CHUNKS+5}})) + framed(b"data: [DONE]\\n\\n") + b"0\\r\\n\\r\\n")
HEAD = (b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\n"
        b"transfer-encoding: chunked\\r\\n\\r\\n")
class Chat(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport; self.held = b""
    def data_received(self, data):
        self.held += data
        while True:
            head, found, rest = self.held.partition(b"\\r\\n\\r\\n")
            if not found: return
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15:].split(b"\\r\\n")[0])
            if len(rest) < length: return
            asked, self.held = rest[:length], rest[length:]
            if b'"stream":true' in asked or b'"stream": true' in asked:
                asyncio.get_running_loop().create_task(self.stream())
            else: self.transport.write(PLAIN)
    async def stream(self):
        self.transport.write(HEAD)
        for event in EVENTS:
            self.transport.write(event)
            if PAUSE_S: await asyncio.sleep(PAUSE_S)
        self.transport.write(LAST)
async def main():
    server = await asyncio.get_running_loop().create_server(Chat, "127.0.0.1", 0, backlog=1024)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""

CONFIG = """\
llm:
  default_provider: bench
  default_model: m
  providers:
    bench:
      kind: llama_cpp
      base_url: {address}/v1
      api_key: bench-key-0123456789
      default_model: m
      models: [m]
      transport: {transport}
daemon:
  log_level: warning
"""


@contextlib.contextmanager
def loopback_server(source: str, *arguments: str) -> Iterator[str]:
    """Run a server that prints ``ready PORT``; give its address."""
    with script(source, *arguments) as (_, words):
        yield f"http://127.0.0.1:{words[0]}"


@contextlib.contextmanager
def daemon_with(folder: Path, address: str, transport: str = "lean") -> Iterator[DaemonProcess]:
    config = CONFIG.format(address=address, transport=transport)
    with DaemonProcess(folder / transport, config=config) as daemon:
        yield daemon
