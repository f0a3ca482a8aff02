"""The blocking client. What is asked is in `sutler.calls`, how it is carried in `sutler.ask`."""

from itertools import count
from os import getpid, urandom

from sutler import calls
from sutler.ask import Ask, Home
from sutler.calls import Defaults, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import (
        Any,
        Callable,
        Collection,
        Dict,
        Iterable,
        Iterator,
        List,
        Mapping,
        Optional,
        Sequence,
        Union,
        overload,
    )

    from typing_extensions import Literal, Unpack

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
    from sutler.stream import Stream
    from sutler.types import Completion, Embeddings, Rendered, TokenCount

DEFAULT_TIMEOUT_S = 600.0
DEFAULT_RECONNECT_S = 30.0


class Settings:
    """What a client was made with; the same for the blocking and the asyncio one."""

    __slots__ = ("labels", "reconnect_s", "socket_path", "timeout_s", "trusted_uids")

    def __init__(
        self,
        socket_path: "Optional[str]",
        timeout_s: "Optional[float]",
        labels: "Optional[Mapping[str, str]]",
        trusted_uids: "Collection[int]",
        reconnect_s: float,
    ) -> None:
        self.socket_path = socket_path
        self.timeout_s = DEFAULT_TIMEOUT_S if timeout_s is None else seconds(timeout_s, "timeout_s")
        self.labels = dict(labels or {})
        self.trusted_uids = frozenset(trusted_uids)
        self.reconnect_s = reconnect_s

    def defaults(self) -> Defaults:
        """Give what is added to every call; request ids are this process's own."""
        prefix, numbers = urandom(12).hex(), count(1)
        return Defaults(self.timeout_s, self.labels, lambda: f"{prefix}-{next(numbers):x}")


class _Process:
    """What a client has in one process."""

    __slots__ = ("defaults", "home")

    def __init__(self, pid: int, settings: Settings) -> None:
        self.defaults = settings.defaults()
        self.home = Home(pid, settings)


class Client:
    """A client of the node's daemon. Threads may share it; forked processes may inherit it.

    Nothing is opened before the first call. ``socket_path`` is looked for as the README says
    if not given. ``timeout_s`` bounds each call, waiting included, unless the call says
    otherwise. ``labels`` go with every call and only label it. ``trusted_uids`` may listen on
    the socket besides root, this user and the owner of a folder that only root can replace.
    When the daemon restarts, calls wait up to ``reconnect_s`` for it and are sent once more.

    Not for signal handlers: one that calls a method of a client whose call it interrupts may
    wait for itself.
    """

    __slots__ = ("__weakref__", "_processes", "_settings")

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
        self._processes: "Dict[int, _Process]" = {}

    def complete(
        self, messages_or_prompt: "Conversation", **options: "Unpack[CompleteOptions]"
    ) -> "Completion":
        """Answer a prompt or a conversation.

        Messages are `Message` or objects of the wire's shape. The options are those of
        `sutler.options.CompleteOptions`; what is None is not sent.
        """
        here = self._here()
        call = calls.complete(messages_or_prompt, dict(options), here.defaults)
        reply: "Completion" = Ask(here.home, call).answer()
        return reply

    def chat(
        self,
        user_message: str,
        system_message: "Optional[str]" = None,
        **options: "Unpack[ChatOptions]",
    ) -> str:
        """Answer one message; gives the text alone."""
        here = self._here()
        call = calls.chat(user_message, system_message, dict(options), here.defaults)
        text: str = Ask(here.home, call).answer()
        return text

    def json(
        self,
        prompt_or_messages: "Conversation",
        schema: "Optional[Mapping[str, Any]]" = None,
        **options: "Unpack[JsonOptions]",
    ) -> "Any":
        """Answer in JSON that fits the schema, if one is given; gives the decoded value."""
        here = self._here()
        return Ask(
            here.home, calls.json(prompt_or_messages, schema, dict(options), here.defaults)
        ).answer()

    def prompt(
        self,
        name: str,
        /,
        variables: "Optional[Mapping[str, Any]]" = None,
        options: "Optional[PromptOptions]" = None,
        **more: "Any",
    ) -> "Completion":
        """Run a template of the daemon's library; ``name`` may be ``name@1`` or ``name@1.2``.

        Its variables are given by name; one called like a parameter of this method is given
        in ``variables``. What is None is left to the template's default. ``options`` are those
        of a call, and go before what the template says. If the template has a schema, the
        decoded answer is ``parsed``.
        """
        here = self._here()
        call = calls.prompt(name, variables, more, options, here.defaults)
        reply: "Completion" = Ask(here.home, call).answer()
        return reply

    def render(
        self, name: str, /, variables: "Optional[Mapping[str, Any]]" = None, **more: "Any"
    ) -> "Rendered":
        """Give the messages that a template becomes, with its version and hash."""
        here = self._here()
        call = calls.render(name, variables, more, here.defaults)
        rendered: "Rendered" = Ask(here.home, call).answer()
        return rendered

    def function_call(
        self,
        messages: "Conversation",
        functions: "Sequence[Union[Function, Callable[..., Any]]]",
        function_choice: "Union[str, Mapping[str, Any], None]" = None,
        **options: "Unpack[CallOptions]",
    ) -> "Completion":
        """Let a model choose a function and its arguments; the reply has ``tool_calls``.

        A function is a definition, or a Python function whose signature says it.
        ``function_choice`` is ``auto``, ``none``, ``required`` or a function's name.
        """
        here = self._here()
        call = calls.function_call(
            messages, functions, function_choice, dict(options), here.defaults
        )
        reply: "Completion" = Ask(here.home, call).answer()
        return reply

    def run_tools(
        self,
        messages: "Conversation",
        tools: "Mapping[str, Callable[..., Any]]",
        *,
        functions: "Optional[Sequence[Function]]" = None,
        max_rounds: int = 10,
        **options: "Unpack[RunOptions]",
    ) -> "Completion":
        """Let a model call functions until it answers; gives the answer.

        What the model may call is in ``tools``, by name; ``functions`` describes it, else the
        signatures do. A function that raises is told to the model as its result. A
        ``function_call`` that forces a call holds for the first round only. Raises
        InvalidOutput if the model still calls after ``max_rounds``; ``timeout_s`` bounds each
        round.
        """
        from sutler.tools import ToolRun

        run = ToolRun(messages, tools, functions, max_rounds, options)
        while True:
            here = self._here()
            call = calls.complete(run.messages, run.options(), here.defaults)
            reply: "Completion" = Ask(here.home, call).answer()
            wanted = run.wanted(reply)
            if not wanted:
                return reply
            run.told(wanted, [one.run() for one in wanted])

    def stream(
        self, messages_or_prompt: "Conversation", **options: "Unpack[CompleteOptions]"
    ) -> "Stream":
        """Ask like `complete`; iterate over the chunks, then read ``result``."""
        from sutler.stream import Pieces, Stream

        here = self._here()
        call = calls.complete(messages_or_prompt, dict(options), here.defaults, stream=True)
        return Stream(Pieces(here.home, call))

    def embed(
        self, texts: "Union[str, Sequence[str]]", **options: "Unpack[EmbedOptions]"
    ) -> "Embeddings":
        """Embed texts; row i of the answer belongs to text i."""
        here = self._here()
        call = calls.embed(texts, dict(options), here.defaults)
        answer: "Embeddings" = Ask(here.home, call).answer()
        return answer

    def count_tokens(
        self,
        text_or_messages: "Conversation",
        model: "Optional[str]" = None,
        *,
        timeout_s: "Optional[float]" = None,
    ) -> "TokenCount":
        """Count the tokens of a text or a conversation as a model would."""
        here = self._here()
        call = calls.count_tokens(text_or_messages, model, timeout_s, here.defaults)
        counted: "TokenCount" = Ask(here.home, call).answer()
        return counted

    if TYPE_CHECKING:

        @overload
        def map(
            self,
            prompts: "Iterable[Conversation]",
            *,
            max_in_flight: int = ...,
            return_errors: "Literal[False]" = ...,
            **options: "Unpack[CompleteOptions]",
        ) -> "Iterator[Completion]": ...

        @overload
        def map(
            self,
            prompts: "Iterable[Conversation]",
            *,
            max_in_flight: int = ...,
            return_errors: bool,
            **options: "Unpack[CompleteOptions]",
        ) -> "Iterator[Union[Completion, SutlerError]]": ...

    def map(
        self,
        prompts: "Iterable[Conversation]",
        *,
        max_in_flight: int = 64,
        return_errors: bool = False,
        **options: "Unpack[CompleteOptions]",
    ) -> "Iterator[Any]":
        """Answer many prompts at once; replies come in the prompts' order, as they are ready.

        ``prompts`` is read lazily. An object with ``prompt`` or ``messages`` may carry options
        of its own. Calls that the daemon is too busy for are sent again within their time. A
        failed call raises at its turn and ends the rest, or with ``return_errors`` is given
        as the error that it is.
        """
        from sutler.mapping import Mapping as Many

        here = self._here()
        many = Many(here.home, here.defaults, prompts, max_in_flight, dict(options))
        return many.answers(return_errors)

    def models(self) -> "List[Dict[str, Any]]":
        """List the models: ``id``, ``provider``, ``default``, ``available``, and more."""
        listed: "List[Dict[str, Any]]" = self._read("models", calls.model_list)
        return listed

    def status(self) -> "Dict[str, Any]":
        return self._object("status")

    def cache_stats(self) -> "Dict[str, Any]":
        return self._object("cache.stats")

    def cache_clear(self) -> "Dict[str, Any]":
        """Remove what this caller's scope has in the cache."""
        return self._object("cache.clear")

    def usage(self, **params: "Any") -> "Dict[str, Any]":
        """Add up who used what: ``since``, ``until`` (days), ``by`` (a group or several), …"""
        return self._object("usage", params)

    def budget(self) -> "Dict[str, Any]":
        """Tell how each budget stands, and which attempts' outcome is unknown."""
        return self._object("budget")

    def report(self, job: "Optional[str]" = None) -> "Dict[str, Any]":
        """Account for a batch job: that which this process runs in, or another."""
        return self._object("report", {} if job is None else {"job": job})

    def hello(self) -> "Dict[str, Any]":
        """Introduce this client; gives the daemon's protocol, version, methods and limits."""
        return self._object("hello", calls.introduction(self._settings.labels))

    def ping(self, *, timeout_s: "Optional[float]" = None) -> None:
        """Return if the daemon answers, raise if not."""
        self.call("ping", timeout_s=timeout_s)

    def call(
        self,
        method: str,
        params: "Optional[Mapping[str, Any]]" = None,
        timeout_s: "Optional[float]" = None,
    ) -> "Any":
        """Call any method of the wire; gives the result as it came.

        Sent again after a lost connection only if that can do no harm: reading methods, and
        calls with a ``request_id`` (those that a model answers get one by themselves).
        """
        here = self._here()
        return Ask(here.home, calls.plain(method, params, timeout_s, here.defaults)).answer()

    def close(self) -> None:
        """Close this process's connection; calls under way in other threads are lost."""
        self._here().home.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _object(
        self, method: str, params: "Optional[Mapping[str, Any]]" = None
    ) -> "Dict[str, Any]":
        result: "Dict[str, Any]" = self._read(method, calls.an_object, params)
        return result

    def _read(
        self,
        method: str,
        read: "Callable[[Any], Any]",
        params: "Optional[Mapping[str, Any]]" = None,
    ) -> "Any":
        here = self._here()
        call = calls.plain(method, params, None, here.defaults, read)
        return Ask(here.home, call).answer()

    def _here(self) -> _Process:
        pid = getpid()
        here = self._processes.get(pid)
        return here if here is not None else self._settle(pid)

    def _settle(self, pid: int) -> _Process:
        """Start afresh in a new process; of an inherited connection, close the copy only."""
        here = self._processes.setdefault(pid, _Process(pid, self._settings))
        for other in [known for known in list(self._processes) if known != pid]:
            inherited = self._processes.pop(other, None)
            if inherited is not None:
                inherited.home.forsake()
        return here
