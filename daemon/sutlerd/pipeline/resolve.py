"""From parameters and caller to a call with nothing left to look up.

Every refusal that costs nothing is born here: shape, names, routes, what the first model
cannot honour. Synchronous and without a clock of its own; the result says where to go,
until when, and under which key the answer is stored.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sutlerd.cache.fingerprint import fingerprint
from sutlerd.config.schema import LlmConfig
from sutlerd.domain.call import NO_LABELS, CacheMode, Call, ChatRequest, Labels, PromptUse, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import quick, record
from sutlerd.pipeline.absent import Absent, Way
from sutlerd.pipeline.extra import forbidden_extra
from sutlerd.pipeline.messages import check_messages
from sutlerd.pipeline.player import Player
from sutlerd.pipeline.prompting import fill_in, labelled
from sutlerd.pipeline.question import Question, chat_asked, question
from sutlerd.pipeline.route import Router
from sutlerd.pipeline.schema_shape import schema_problems
from sutlerd.pipeline.shapes import parse_chat, parse_messages
from sutlerd.pipeline.tape import Tape
from sutlerd.prompts.library import PromptLibrary
from sutlerd.providers.contract import BuiltRequest, Provider

if TYPE_CHECKING:
    from sutlerd.pipeline.params import ChatParams, CompleteParams, Options, RunParams

_new_call = quick(Call)
_new_chat_request = quick(ChatRequest)

#: What a call has that is answered from a recording.
_REPLAYED = (Route(provider="recording", model="recorded"),)
_NOT_BUILT = BuiltRequest(model="recorded", path="", body={})
_LABELS = ("component", "project", "rank")


@record
class Resolved:
    """A call, its request in the first route's spelling, and the key of its answer.

    ``question`` is what a recording knows it by, where one is being made or played. Under the
    keys ``known_first`` there may be answers that come before; with a ``refusal`` there is
    nothing but what is stored under these.
    """

    call: Call
    built: BuiltRequest
    key: bytes
    question: Question | None = None
    known_first: tuple[bytes, ...] = ()
    refusal: InvalidParams | None = None

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Under which its answer may be stored, in the order in which to look."""
        return self.known_first if self.refusal is not None else (*self.known_first, self.key)

    @property
    def flight_key(self) -> Hashable:
        """What identical calls share while they are under way: the answer of the same chain."""
        return self.key, self.call.routes[1:]


_new_resolved = quick(Resolved)


class Resolver:
    """Knows the configuration's names and defaults. ``instance`` names this run of the daemon,
    ``numbers`` its requests, whatever the configuration."""

    def __init__(
        self,
        *,
        llm: LlmConfig,
        router: Router,
        providers: Mapping[str, Provider],
        library: PromptLibrary,
        instance: str,
        numbers: Iterator[int],
        absent: Absent | None = None,
        tape: Tape | None = None,
    ) -> None:
        self._llm = llm
        self._absent = absent
        self._router = router
        self._providers = providers
        self._library = library
        self.instance = instance
        self._numbers = numbers
        self._tape = tape

    def reply_call(
        self, method: str, params: Mapping[str, Any], caller: Caller, *, now_s: float
    ) -> Resolved:
        """Resolve a call of a method that is answered by a reply. Raises ``InvalidParams``."""
        options: CompleteParams | ChatParams | RunParams
        use = None
        if method == "chat":
            options = parse_chat(params)
            raw = _from_prompt(options.prompt, options.system)
        elif method == "prompts.run":
            options, expanded = fill_in(params, self._library.registry, self._llm.aliases)
            raw, use = list(expanded.messages), expanded.use
        else:
            options = parse_messages(method, params)
            raw = _messages_of(options)
        messages, problems = check_messages(raw)
        request = self._chat_request(options, messages, problems)
        if problems:
            raise InvalidParams(problems)
        if isinstance(self._tape, Player):
            call = self._call(options, caller, request, _REPLAYED, use, now_s)
            replayed = self._question(call, options, params)
            return Resolved(call=call, built=_NOT_BUILT, key=b"", question=replayed)
        way = self._way(options, use)
        built = self.provider_of(way.routes[0]).build_chat(request, way.routes[0].model)
        call = self._call(options, caller, request, way.routes, use, now_s)
        return _new_resolved(
            call=call,
            built=built,
            key=self.key(call, way.routes[0], built),
            question=None if self._tape is None else self._question(call, options, params),
            known_first=tuple(self._key_of(call, route) for route in way.first),
            refusal=way.refusal,
        )

    def _way(self, options: Options, use: PromptUse | None) -> Way:
        fallback = False if self._never_falls_back(options, use) else options.fallback
        asked: dict[str, Any] = {"model": options.model, "provider": options.provider}
        if self._absent is None:
            return Way(routes=self._router.chain(**asked, fallback=fallback))
        return self._absent.way(self._router, **asked, fallback=fallback)

    def embed_route(
        self, model: str | None, provider: str | None
    ) -> tuple[Route, InvalidParams | None]:
        """Give where texts are embedded, and why only what is stored can be had, if so."""
        if self._absent is None:
            return self._router.embed_route(model=model, provider=provider), None
        return self._absent.embed_route(self._router, model=model, provider=provider)

    def provider_of(self, route: Route) -> Provider:
        """Give what knows the spelling of a route's requests, in service or not."""
        known = self._providers.get(route.provider)
        if known is None and self._absent is not None:
            return self._absent.keyless[route.provider]
        return self._providers[route.provider]

    def _key_of(self, call: Call, route: Route) -> bytes:
        assert isinstance(call.request, ChatRequest)
        return self.key(call, route, self.provider_of(route).build_chat(call.request, route.model))

    def key(self, call: Call, route: Route, built: BuiltRequest) -> bytes:
        """Give the fingerprint under which this route's answer is stored.

        An answer of a shape was checked against more than what its provider is told of it.
        """
        shape = _shape(call)
        return fingerprint(
            tenant=self.tenant(call.caller),
            kind=_kind(call, shape),
            provider=route.provider,
            model=built.model,
            body=built.body if shape is None else {"body": built.body, "shape": shape},
            sample=call.sample,
        )

    def tenant(self, caller: Caller) -> str:
        """Give the scope whose answers this caller shares."""
        scope = self._llm.cache.scope
        if scope == "user":
            return f"uid:{caller.uid}"
        return f"gid:{caller.gid}" if scope == "group" else "node"

    def deadline_s(self, timeout_s: float | None, now_s: float) -> float:
        """Give the monotonic end of a call; a caller's wish is cut to the configured maximum."""
        llm = self._llm
        if timeout_s is None:
            timeout_s = llm.queue_timeout_s + llm.timeout_seconds * (llm.max_retries + 1)
        return now_s + min(timeout_s, llm.max_timeout_s)

    def request_id(self, given: str | None) -> str:
        return given or f"{self.instance}-{next(self._numbers)}"

    @property
    def caches(self) -> bool:
        return self._llm.cache.enabled

    def ttl_s(self, wanted_s: float | None) -> float:
        cache = self._llm.cache
        return min(cache.ttl_seconds if wanted_s is None else wanted_s, cache.max_ttl_s)

    def _question(self, call: Call, options: Options, params: Mapping[str, Any]) -> Question:
        assert isinstance(call.request, ChatRequest)
        # Of an alias of the configuration, for a template's class, if the caller named none.
        model = options.model if "model" in params else None
        prompt_hash = None if call.prompt is None else call.prompt.hash
        return question(
            chat_asked(options, call.request, model=model, prompt_hash=prompt_hash),
            caller=call.caller,
            labels=call.labels,
            request_id=options.request_id,
        )

    def _never_falls_back(self, options: Options, use: PromptUse | None) -> bool:
        """Tell whether a call is of a class that the operator binds to its first route, by its
        component, the alias it asks for, or its template."""
        never = self._llm.never_fall_back
        if not never:
            return False
        component = labelled(options.labels, use).get("component")
        return any(name in never for name in (component, options.model, use and use.name))

    def _call(
        self,
        options: Options,
        caller: Caller,
        request: ChatRequest,
        routes: tuple[Route, ...],
        use: PromptUse | None,
        now_s: float,
    ) -> Call:
        repeatable = (
            options.temperature is None
            or options.temperature <= self._llm.cacheable_temperature
            or options.sample is not None
        )
        mode = CacheMode.ON if options.cache is None else CacheMode(options.cache)
        if not self._llm.cache.enabled and mode is not CacheMode.ONLY:
            mode = CacheMode.OFF
        return _new_call(
            request_id=self.request_id(options.request_id),
            caller=caller,
            request=request,
            routes=routes,
            deadline_s=self.deadline_s(options.timeout_s, now_s),
            lane=options.lane,
            labels=read_labels(labelled(options.labels, use)),
            cache_mode=mode,
            cacheable=mode is not CacheMode.OFF and (repeatable or options.cache is not None),
            cache_ttl_s=self.ttl_s(options.cache_ttl_s),
            sample=options.sample or 0,
            stream=options.stream,
            idempotent=options.request_id is not None,
            prompt=use,
            traceparent=traceparent_of(options.metadata),
        )

    def _chat_request(
        self, options: Options, messages: tuple[dict[str, Any], ...], problems: list[str]
    ) -> ChatRequest:
        functions, function_call = _functions(options, problems)
        json_mode, schema = _format(options, problems)
        json_mode = json_mode or (options.is_json and schema is None)
        max_tokens = options.max_tokens
        if options.max_completion_tokens is not None:
            if max_tokens not in (None, options.max_completion_tokens):
                problems.append("params.max_completion_tokens: differs from max_tokens")
            max_tokens = options.max_completion_tokens
        problems += forbidden_extra(options.extra)
        stop = (options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ())
        return _new_chat_request(
            messages=messages,
            max_tokens=self._llm.default_max_tokens if max_tokens is None else max_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            stop=stop,
            seed=options.seed,
            user=options.user,
            functions=functions,
            function_call=function_call,
            parallel_tool_calls=options.parallel_tool_calls,
            json_mode=json_mode,
            schema=schema,
            extra=options.extra,
            checks_arguments=options.needs_functions,
        )


def _kind(call: Call, shape: dict[str, Any] | None) -> str:
    if call.prompt is not None:
        return f"prompt:{call.prompt.hash}"
    return "chat" if shape is None else "shaped"


def _shape(call: Call) -> dict[str, Any] | None:
    request = call.request
    if not isinstance(request, ChatRequest):
        return None
    shape = request.schema if request.schema is not None or not request.json_mode else {}
    return {"arguments": True, "schema": shape} if request.checks_arguments else shape


def traceparent_of(metadata: Mapping[str, Any] | None) -> str | None:
    """Give what a caller says of its own trace; whether it is well-formed is not looked at."""
    said = None if metadata is None else metadata.get("traceparent")
    return said if isinstance(said, str) else None


def read_labels(labels: Mapping[str, str | int]) -> Labels:
    if not labels:
        return NO_LABELS
    named = {name: str(labels[name]) for name in _LABELS if name in labels}
    others = tuple(
        (name, str(value)) for name, value in sorted(labels.items()) if name not in _LABELS
    )
    return Labels(**named, others=others)


def _messages_of(options: CompleteParams) -> list[dict[str, Any]]:
    if (options.messages is None) == (options.prompt is None):
        raise InvalidParams("params: give either messages or prompt")
    if options.prompt is not None:
        return _from_prompt(options.prompt, options.system)
    assert options.messages is not None
    if options.system is not None:
        return [{"role": "system", "content": options.system}, *options.messages]
    return options.messages


def _from_prompt(prompt: str, system: str | None) -> list[dict[str, Any]]:
    asked = [{"role": "user", "content": prompt}]
    return asked if system is None else [{"role": "system", "content": system}, *asked]


def _functions(
    options: Options, problems: list[str]
) -> tuple[tuple[dict[str, Any], ...], str | dict[str, str] | None]:
    if options.functions is None and options.tools is None and _asks_no_choice(options):
        return (), None
    if options.functions is not None and options.tools is not None:
        problems.append("params.tools: give either functions or tools")
    specs = options.functions or [tool.function for tool in options.tools or ()]
    functions = tuple(spec.model_dump(exclude_none=True) for spec in specs)
    for number, spec in enumerate(specs):
        problems += schema_problems(spec.parameters, f"params.functions[{number}].parameters")
    if not specs and options.needs_functions:
        problems.append("params.functions: Field required")
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        problems.append("params.functions: two functions have the same name")
    wanted: Any = (
        options.function_call if options.function_call is not None else options.tool_choice
    )
    if wanted is None or wanted in ("auto", "none", "required"):
        choice: str | dict[str, str] | None = wanted
    else:
        name = wanted if isinstance(wanted, str) else getattr(wanted, "function", wanted).name
        choice = {"name": name}
        if name not in names:
            problems.append(f"params.function_call: no function is named {name}")
    if choice is not None and not functions and choice != "none":
        problems.append("params.function_call: there are no functions to call")
    # To be free is what a model is anyway: said or not, it is one call.
    return functions, None if choice == "auto" else choice


def _asks_no_choice(options: Options) -> bool:
    if options.needs_functions:
        return False
    return options.function_call is None and options.tool_choice is None


def _format(options: Options, problems: list[str]) -> tuple[bool, dict[str, Any] | None]:
    json_mode, schema, path = options.json_mode, options.json_schema, "params.schema"
    wanted = options.response_format
    if wanted is not None and wanted.type == "json_object":
        json_mode = True
    elif wanted is not None and wanted.type == "json_schema":
        if wanted.json_schema is None:
            problems.append("params.response_format.json_schema: Field required")
        elif schema is not None:
            problems.append("params.response_format: give either schema or response_format")
        else:
            schema = wanted.json_schema.json_schema
            path = "params.response_format.json_schema.schema"
    if schema is not None:
        problems += schema_problems(schema, path)
    return json_mode, schema
