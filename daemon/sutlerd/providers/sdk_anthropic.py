"""The ``anthropic`` package as an SDK under ``transport_sdk``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.sdk import Sdk
from sutlerd.providers.sdk_http import make_http_client

#: Without a key the client looks for one in the environment and on disk; servers that want
#: none ignore it.
_NO_KEY = "none"


def anthropic_loader(
    address: Address, *, api_key: str | None, headers: Mapping[str, str], proxy: Proxy | None
) -> Callable[[], Sdk]:
    """Give what imports the package and makes its client, to be run in a thread."""

    def load() -> Sdk:
        import aiohttp
        import anthropic
        import httpx2

        client = anthropic.AsyncAnthropic(
            # Both are given, so that no variable of the environment is asked for them.
            api_key=api_key or _NO_KEY,
            webhook_key="",
            base_url=str(address),
            max_retries=0,
            open_telemetry=False,
            http_client=make_http_client(anthropic.DefaultAioHttpClient, address, proxy),
        )
        client.webhook_key = None
        # ANTHROPIC_CUSTOM_HEADERS is read whatever is given.
        client._custom_headers = dict(headers)
        return Sdk(
            client=client,
            status_error=anthropic.APIStatusError,
            failures=(anthropic.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError),
            response_type=httpx2.Response,
            make_timeout=httpx2.Timeout,
        )

    return load
