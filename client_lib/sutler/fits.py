"""Whether a function's arguments fit its schema, as far as signatures say it. Pure.

Understood are the keywords that `sutler.signatures` writes and their nearest kin: ``type``,
``enum``, ``const``, ``properties``, ``required``, ``additionalProperties``, ``items``,
``prefixItems``, ``minItems``, ``maxItems``, ``minimum``, ``maximum``, ``anyOf``, ``oneOf`` and
``allOf``. Others ask for nothing here: the daemon's `function_call` judges by all of them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Mapping

#: Deeper than any signature's, and than the wire lets arguments be.
_MAX_DEPTH = 64
MAX_TOLD = 10
_SHOWN_CHARS = 80


def misfits(schema: "Any", value: "Any") -> "List[str]":
    """Say what is wrong, ``$.path: why`` each, at most so many; nothing if all fits."""
    found = []
    for problem in _problems(schema, value, "$", 0):
        found.append(problem)
        if len(found) == MAX_TOLD:
            break
    return found


def _problems(schema: "Any", value: "Any", path: str, depth: int) -> "Iterator[str]":
    if schema is False:
        yield "%s: must not be there" % path
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return
    wanted = schema.get("type")
    if wanted is not None:
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        if not any(_is(value, name) for name in names):
            yield "%s: %s is not %s" % (path, _shown(value), " or ".join(map(str, names)))
            return
    for allowed in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
        if isinstance(allowed, list) and not any(_same(value, one) for one in allowed):
            told = ", ".join(map(_shown, allowed[:MAX_TOLD]))
            yield "%s: %s is none of %s" % (path, _shown(value), told)
    if isinstance(value, dict):
        for problem in _of_object(schema, value, path, depth + 1):
            yield problem
    elif isinstance(value, list):
        for problem in _of_list(schema, value, path, depth + 1):
            yield problem
    elif _is(value, "number"):
        if _is(schema.get("minimum"), "number") and value < schema["minimum"]:
            yield "%s: %s is less than %s" % (path, _shown(value), schema["minimum"])
        if _is(schema.get("maximum"), "number") and value > schema["maximum"]:
            yield "%s: %s is more than %s" % (path, _shown(value), schema["maximum"])
    for problem in _of_choices(schema, value, path, depth + 1):
        yield problem


def _of_object(
    schema: "Mapping[str, Any]", value: "Mapping[str, Any]", path: str, depth: int
) -> "Iterator[str]":
    for name in schema.get("required") or ():
        if name not in value:
            yield "%s: %s is missing" % (path, name)
    properties = schema.get("properties") or {}
    for name in value:
        inner = properties.get(name, schema.get("additionalProperties"))
        if name not in properties and inner is False and "patternProperties" not in schema:
            yield "%s: there is no %s" % (path, str(name)[:_SHOWN_CHARS])
        elif name in properties or "patternProperties" not in schema:
            where = "%s.%s" % (path, str(name)[:_SHOWN_CHARS])
            for problem in _problems(inner, value[name], where, depth):
                yield problem


def _of_list(
    schema: "Mapping[str, Any]", value: "List[Any]", path: str, depth: int
) -> "Iterator[str]":
    least, most = schema.get("minItems"), schema.get("maxItems")
    if (least is not None and len(value) < least) or (most is not None and len(value) > most):
        bounds = "%s to %s" % (least or 0, "any number" if most is None else most)
        yield "%s: has %d items, not %s" % (path, len(value), bounds)
    first = schema.get("prefixItems") or []
    for place, item in enumerate(value):
        inner = first[place] if place < len(first) else schema.get("items")
        for problem in _problems(inner, item, "%s[%d]" % (path, place), depth):
            yield problem


def _of_choices(
    schema: "Mapping[str, Any]", value: "Any", path: str, depth: int
) -> "Iterator[str]":
    for name in ("anyOf", "oneOf"):
        choices = schema.get(name)
        if isinstance(choices, list) and choices:
            tried = [next(_problems(one, value, path, depth), None) for one in choices]
            if None not in tried:
                yield "%s (none of %d alternatives fits)" % (tried[0], len(choices))
    for one in schema.get("allOf") or ():
        for problem in _problems(one, value, path, depth):
            yield problem


def _is(value: "Any", name: "Any") -> bool:
    if isinstance(value, bool):
        return bool(name == "boolean")
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    kinds: "Dict[str, Any]" = {"string": str, "number": (int, float), "array": list, "object": dict}
    if name == "null":
        return value is None
    # What is no type of JSON asks for nothing.
    return isinstance(value, kinds[name]) if name in kinds else name != "boolean"


def _same(one: "Any", other: "Any") -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _shown(value: "Any") -> str:
    from json import dumps

    told = dumps(value, ensure_ascii=False)
    return told if len(told) <= _SHOWN_CHARS else told[:_SHOWN_CHARS] + "…"
