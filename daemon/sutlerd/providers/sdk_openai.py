"""The ``openai`` package as an SDK under ``transport_sdk``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.sdk import Sdk
from sutlerd.providers.sdk_http import make_http_client

#: The client refuses to be made without a key; servers that want none ignore it.
_NO_KEY = "none"


def openai_loader(
    address: Address, *, api_key: str | None, headers: Mapping[str, str], proxy: Proxy | None
) -> Callable[[], Sdk]:
    """Give what imports the package and makes its client, to be run in a thread."""

    def load() -> Sdk:
        import aiohttp
        import httpx2
        import openai

        client = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY,
            # Given, so that no variable of the environment is asked for them.
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=str(address),
            max_retries=0,
            http_client=make_http_client(openai.DefaultAioHttpClient, address, proxy),
        )
        # Empty ones would be sent as empty headers; and OPENAI_CUSTOM_HEADERS is read whatever
        # is given.
        client.organization = client.project = client.admin_api_key = None
        client._custom_headers = dict(headers)
        return Sdk(
            client=client,
            status_error=openai.APIStatusError,
            failures=(openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError),
            response_type=httpx2.Response,
            make_timeout=httpx2.Timeout,
        )

    return load
