"""Addresses, proxies, decompression, bounded JSON, estimates: the small pure parts."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.providers.address import parse_address, proxy_for
from sutlerd.providers.bounded_json import MAX_VALUES, read_json, read_object
from sutlerd.providers.estimate import estimate_tokens
from sutlerd.providers.inflate import Inflater
from sutlerd.providers.openai_count import read_count


@pytest.mark.parametrize(
    ("url", "shown", "authority", "local"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1", "127.0.0.1:8000", True),
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "api.openai.com", False),
        ("localhost:11434", "http://localhost:11434", "localhost:11434", True),
        ("http://[::1]:8000", "http://[::1]:8000", "[::1]:8000", True),
        ("http://gpu.localhost", "http://gpu.localhost", "gpu.localhost", True),
        ("http://gpu-7:8000/v1", "http://gpu-7:8000/v1", "gpu-7:8000", False),
        ("https://host.:443", "https://host", "host", False),
    ],
)
def test_addresses_are_read(url: str, shown: str, authority: str, local: bool) -> None:
    address = parse_address(url)
    assert (str(address), address.authority, address.local) == (shown, authority, local)


@pytest.mark.fault("X11")
@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "http://",
        "http://user:hunter2@host/",
        "http://host/?x=1",
        "http://host/#x",
        "http://host/a\r\nx-evil: 1",
        "http://hóst/",
        "http://host:99999/",
        "http://ho st/",
    ],
)
def test_what_is_no_base_address_is_refused_and_no_password_is_shown(url: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_address(url)
    assert "hunter2" not in str(raised.value)


def test_a_path_may_leave_the_last_part_of_the_base_off() -> None:
    address = parse_address("http://h/a/v1")
    assert address.join("/embeddings") == "/a/v1/embeddings"
    assert address.join("/../tokenize") == "/a/tokenize"
    assert parse_address("http://h").join("/../tokenize") == "/tokenize"


@pytest.mark.fault("P27")
@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://api.test/v1", {"https_proxy": "http://p:3128"}, "p:3128"),
        ("https://api.test/v1", {"HTTPS_PROXY": "p:3128"}, "p:3128"),
        ("https://api.test/v1", {"http_proxy": "http://p:3128"}, None),
        ("https://api.test/v1", {"ALL_PROXY": "http://p"}, "p"),
        ("http://127.0.0.1:11434", {"http_proxy": "http://p:3128"}, None),
        ("http://localhost:11434", {"all_proxy": "http://p:3128"}, None),
        ("https://api.test", {"https_proxy": "http://p", "no_proxy": "*"}, None),
        ("https://api.test", {"https_proxy": "http://p", "no_proxy": "x, .test"}, None),
        ("https://api.test", {"https_proxy": "http://p", "NO_PROXY": "api.test:443"}, None),
        ("https://api.test", {"https_proxy": "http://p", "no_proxy": "api.test:80"}, "p"),
        ("https://api.test", {"https_proxy": "http://p", "no_proxy": "pi.test"}, "p"),
        ("http://10.1.2.3", {"http_proxy": "http://p", "no_proxy": "10.0.0.0/8"}, None),
        ("http://10.1.2.3", {"http_proxy": "http://p", "no_proxy": "10.1.2.3"}, None),
        ("http://11.1.2.3", {"http_proxy": "http://p", "no_proxy": "10.0.0.0/8"}, "p"),
    ],
)
def test_the_environment_s_proxy_is_used_but_for_this_machine_and_exceptions(
    url: str, environ: dict[str, str], proxy: str | None
) -> None:
    found = proxy_for(parse_address(url), environ)
    assert (found and found.address.authority) == proxy


@pytest.mark.fault("P27")
def test_a_proxy_s_password_travels_in_a_header_and_is_never_shown() -> None:
    environ = {"https_proxy": "http://bob:hunt%402@p:3128"}
    found = proxy_for(parse_address("https://api.test"), environ)
    assert found is not None
    assert found.authorization == "Basic Ym9iOmh1bnRAMg=="
    assert "hunt" not in repr(found) + str(found.address)
    with pytest.raises(ValueError, match="socks5://p") as raised:
        proxy_for(parse_address("https://api.test"), {"https_proxy": "socks5://bob:hunter2@p"})
    assert "hunter2" not in str(raised.value)


@given(st.binary(max_size=2000), st.integers(1, 300), st.sampled_from(["gzip", "deflate", ""]))
def test_what_was_packed_comes_out_in_any_pieces(data: bytes, size: int, encoding: str) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "": bytes}[encoding](data)
    inflater = Inflater(encoding, 2000)
    pieces = [inflater.feed(packed[i : i + size]) for i in range(0, len(packed), size)]
    inflater.finish()
    assert b"".join(pieces) == data


@pytest.mark.fault("X13")
def test_a_bomb_stops_at_the_limit() -> None:
    inflater = Inflater("gzip", 1000)
    with pytest.raises(ValueError, match="limit"):
        inflater.feed(gzip.compress(b"\0" * 10_000_000))


@pytest.mark.fault("X13")
@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "x" * 1000])
def test_encodings_that_were_not_asked_for_or_are_nested_are_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match="not asked for"):
        Inflater(encoding, 1000)


def test_broken_and_cut_compression_are_told() -> None:
    with pytest.raises(ValueError, match="broken"):
        Inflater("gzip", 1000).feed(b"not gzip at all")
    inflater = Inflater("gzip", 1000)
    inflater.feed(gzip.compress(b"hello")[:-3])
    with pytest.raises(ValueError, match="cut short"):
        inflater.finish()


@pytest.mark.fault("X13")
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[" + b"[]," * MAX_VALUES + b"[]]", b"[1e9999999]"[:-1]]
)
def test_deep_and_teeming_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(body)


def test_long_honest_json_is_read() -> None:
    text = "a,b{[" * (MAX_VALUES // 2)
    assert read_object(b'{"text": "%s"}' % text.encode()) == {"text": text}
    with pytest.raises(ValueError, match="not an object"):
        read_object(b"[]")


@pytest.mark.parametrize(
    ("body", "tokens"),
    [(b'{"input_tokens": 3}', 3), (b'{"count": 4, "tokens": []}', 4), (b'{"tokens": [1, 2]}', 2)],
)
def test_counts_are_read_in_each_server_s_shape(body: bytes, tokens: int) -> None:
    assert read_count(body).tokens == tokens


@pytest.mark.parametrize("body", [b"{}", b'{"count": -1}', b'{"count": true}', b"[]", b""])
def test_what_is_no_count_is_told(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_count(body)


def test_an_estimate_says_that_it_is_one_and_grows_with_what_is_asked() -> None:
    text = estimate_tokens("hello world")
    assert (text.exact, text.method.split(":")[0]) == (False, "estimate")
    messages = [
        {"role": "user", "content": "hello world"},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    assert estimate_tokens(messages[:1]).tokens > text.tokens > estimate_tokens("").tokens
    assert estimate_tokens(messages).tokens > 1600
