"""The asyncio client: the same methods, awaited. Loaded when ``AsyncClient`` is first used."""

import asyncio
import os

from sutler import calls
from sutler.aio_ask import AsyncAsk, AsyncHome, AsyncPieces
from sutler.aio_stream import AsyncStream
from sutler.client import DEFAULT_RECONNECT_S, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import (
        Any,
        AsyncIterable,
        AsyncIterator,
        Callable,
        Collection,
        Dict,
        Iterable,
        List,
        Mapping,
        Optional,
        Sequence,
        Union,
        overload,
    )

    from typing_extensions import Literal, Unpack

    from sutler.calls import Call
    from sutler.errors import SutlerError
    from sutler.options import (
        CallOptions,
        ChatOptions,
        CompleteOptions,
        Conversation,
        EmbedOptions,
        Function,
        JsonOptions,
        PromptOptions,
        RunOptions,
    )
    from sutler.types import Completion, Embeddings, Rendered, TokenCount

    Prompts = Union[Iterable[Conversation], AsyncIterable[Conversation]]

__all__ = ["AsyncClient", "AsyncStream"]


class AsyncClient:
    """`sutler.Client` for asyncio: the same arguments, the same methods, awaited.

    Tasks of one event loop share one connection; each loop and each process has its own.
    Cancelling a task cancels its call in the daemon.
    """

    def __init__(
        self,
        socket_path: "Optional[str]" = None,
        *,
        timeout_s: "Optional[float]" = None,
        labels: "Optional[Mapping[str, str]]" = None,
        trusted_uids: "Collection[int]" = (),
        reconnect_s: float = DEFAULT_RECONNECT_S,
    ) -> None:
        self._settings = Settings(socket_path, timeout_s, labels, trusted_uids, reconnect_s)
        self._homes: "List[AsyncHome]" = []

    async def complete(
        self, messages_or_prompt: "Conversation", **options: "Unpack[CompleteOptions]"
    ) -> "Completion":
        """Answer a prompt or a conversation; see `sutler.Client.complete`."""
        home = self._here()
        call = calls.complete(messages_or_prompt, dict(options), home.defaults)
        reply: "Completion" = await AsyncAsk(home, call).answer()
        return reply

    async def chat(
        self,
        user_message: str,
        system_message: "Optional[str]" = None,
        **options: "Unpack[ChatOptions]",
    ) -> str:
        """Answer one message; gives the text alone."""
        home = self._here()
        call = calls.chat(user_message, system_message, dict(options), home.defaults)
        text: str = await AsyncAsk(home, call).answer()
        return text

    async def json(
        self,
        prompt_or_messages: "Conversation",
        schema: "Optional[Mapping[str, Any]]" = None,
        **options: "Unpack[JsonOptions]",
    ) -> "Any":
        """Answer in JSON that fits the schema, if one is given; gives the decoded value."""
        home = self._here()
        call = calls.json(prompt_or_messages, schema, dict(options), home.defaults)
        return await AsyncAsk(home, call).answer()

    async def prompt(
        self,
        name: str,
        /,
        variables: "Optional[Mapping[str, Any]]" = None,
        options: "Optional[PromptOptions]" = None,
        **more: "Any",
    ) -> "Completion":
        """Run a template of the daemon's library; see `sutler.Client.prompt`."""
        home = self._here()
        call = calls.prompt(name, variables, more, options, home.defaults)
        reply: "Completion" = await AsyncAsk(home, call).answer()
        return reply

    async def render(
        self, name: str, /, variables: "Optional[Mapping[str, Any]]" = None, **more: "Any"
    ) -> "Rendered":
        """Give the messages that a template becomes, with its version and hash."""
        home = self._here()
        call = calls.render(name, variables, more, home.defaults)
        rendered: "Rendered" = await AsyncAsk(home, call).answer()
        return rendered

    async def function_call(
        self,
        messages: "Conversation",
        functions: "Sequence[Union[Function, Callable[..., Any]]]",
        function_choice: "Union[str, Mapping[str, Any], None]" = None,
        **options: "Unpack[CallOptions]",
    ) -> "Completion":
        """Let a model choose a function; see `sutler.Client.function_call`."""
        home = self._here()
        call = calls.function_call(
            messages, functions, function_choice, dict(options), home.defaults
        )
        reply: "Completion" = await AsyncAsk(home, call).answer()
        return reply

    async def run_tools(
        self,
        messages: "Conversation",
        tools: "Mapping[str, Callable[..., Any]]",
        *,
        functions: "Optional[Sequence[Function]]" = None,
        max_rounds: int = 10,
        **options: "Unpack[RunOptions]",
    ) -> "Completion":
        """Let a model call functions until it answers; see `sutler.Client.run_tools`.

        The calls of one round run at once: coroutine functions here, others in threads.
        """
        from sutler.aio_tools import outcomes
        from sutler.tools import ToolRun

        run = ToolRun(messages, tools, functions, max_rounds, options)
        while True:
            home = self._here()
            call = calls.complete(run.messages, run.options(), home.defaults)
            reply: "Completion" = await AsyncAsk(home, call).answer()
            wanted = run.wanted(reply)
            if not wanted:
                return reply
            run.told(wanted, await outcomes(wanted))

    def stream(
        self, messages_or_prompt: "Conversation", **options: "Unpack[CompleteOptions]"
    ) -> AsyncStream:
        """Ask like `complete`; iterate with ``async for``, then read ``result``."""
        home = self._here()
        call = calls.complete(messages_or_prompt, dict(options), home.defaults, stream=True)
        return AsyncStream(AsyncPieces(home, call))

    async def embed(
        self, texts: "Union[str, Sequence[str]]", **options: "Unpack[EmbedOptions]"
    ) -> "Embeddings":
        """Embed texts; row i of the answer belongs to text i."""
        home = self._here()
        call = calls.embed(texts, dict(options), home.defaults)
        answer: "Embeddings" = await AsyncAsk(home, call).answer()
        return answer

    async def count_tokens(
        self,
        text_or_messages: "Conversation",
        model: "Optional[str]" = None,
        *,
        timeout_s: "Optional[float]" = None,
    ) -> "TokenCount":
        """Count the tokens of a text or a conversation as a model would."""
        home = self._here()
        call = calls.count_tokens(text_or_messages, model, timeout_s, home.defaults)
        counted: "TokenCount" = await AsyncAsk(home, call).answer()
        return counted

    if TYPE_CHECKING:

        @overload
        def map(
            self,
            prompts: "Prompts",
            *,
            max_in_flight: int = ...,
            return_errors: "Literal[False]" = ...,
            **options: "Unpack[CompleteOptions]",
        ) -> "AsyncIterator[Completion]": ...

        @overload
        def map(
            self,
            prompts: "Prompts",
            *,
            max_in_flight: int = ...,
            return_errors: bool,
            **options: "Unpack[CompleteOptions]",
        ) -> "AsyncIterator[Union[Completion, SutlerError]]": ...

    def map(
        self,
        prompts: "Prompts",
        *,
        max_in_flight: int = 64,
        return_errors: bool = False,
        **options: "Unpack[CompleteOptions]",
    ) -> "AsyncIterator[Any]":
        """Answer many prompts at once, in their order; see `sutler.Client.map`.

        ``prompts`` may be asynchronous, too.
        """
        from sutler.aio_map import AsyncMapping

        many = AsyncMapping(self._here(), prompts, max_in_flight, dict(options))
        return many.answers(return_errors)

    async def models(self) -> "List[Dict[str, Any]]":
        """List the models: ``id``, ``provider``, ``default``, ``available``, and more."""
        listed: "List[Dict[str, Any]]" = await self._read("models", calls.model_list)
        return listed

    async def status(self) -> "Dict[str, Any]":
        return await self._object("status")

    async def cache_stats(self) -> "Dict[str, Any]":
        return await self._object("cache.stats")

    async def cache_clear(self) -> "Dict[str, Any]":
        """Remove what this caller's scope has in the cache."""
        return await self._object("cache.clear")

    async def usage(self, **params: "Any") -> "Dict[str, Any]":
        """Add up who used what: ``since``, ``until`` (days), ``by`` (a group or several), …"""
        return await self._object("usage", params)

    async def budget(self) -> "Dict[str, Any]":
        """Tell how each budget stands, and which attempts' outcome is unknown."""
        return await self._object("budget")

    async def report(self, job: "Optional[str]" = None) -> "Dict[str, Any]":
        """Account for a batch job: that which this process runs in, or another."""
        return await self._object("report", {} if job is None else {"job": job})

    async def hello(self) -> "Dict[str, Any]":
        """Introduce this client; gives the daemon's protocol, version, methods and limits."""
        return await self._object("hello", calls.introduction(self._settings.labels))

    async def ping(self, *, timeout_s: "Optional[float]" = None) -> None:
        """Return if the daemon answers, raise if not."""
        await self.call("ping", timeout_s=timeout_s)

    async def call(
        self,
        method: str,
        params: "Optional[Mapping[str, Any]]" = None,
        timeout_s: "Optional[float]" = None,
    ) -> "Any":
        """Call any method of the wire; gives the result as it came. See `sutler.Client.call`."""
        home = self._here()
        call: "Call" = calls.plain(method, params, timeout_s, home.defaults)
        return await AsyncAsk(home, call).answer()

    async def aclose(self) -> None:
        """Close this loop's connection; calls under way in other tasks are lost."""
        self._here().close()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    close = aclose

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _object(
        self, method: str, params: "Optional[Mapping[str, Any]]" = None
    ) -> "Dict[str, Any]":
        result: "Dict[str, Any]" = await self._read(method, calls.an_object, params)
        return result

    async def _read(
        self,
        method: str,
        read: "Callable[[Any], Any]",
        params: "Optional[Mapping[str, Any]]" = None,
    ) -> "Any":
        home = self._here()
        call = calls.plain(method, params, None, home.defaults, read)
        return await AsyncAsk(home, call).answer()

    def _here(self) -> AsyncHome:
        """Give this loop's connection; drop those of other processes and of closed loops."""
        pid, loop = os.getpid(), asyncio.get_running_loop()
        for home in self._homes:
            if home.pid == pid and home.loop is loop:
                return home
        for home in list(self._homes):
            if home.pid != pid or home.loop.is_closed():
                self._homes.remove(home)
                home.forsake()
        self._homes.append(AsyncHome(pid, loop, self._settings))
        return self._homes[-1]
