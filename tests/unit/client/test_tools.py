"""Functions that a model calls: one call, and the loop until there is an answer."""

import asyncio
import json
import threading
import unittest

from sutler import AsyncClient, FunctionDefinition, InvalidOutput
from sutler.testing import reply
from tests.unit.client.support import Case


def call(name, id="c1", **arguments):
    return {
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }


def calls(*wanted):
    return reply("", finish_reason="tool_calls", tool_calls=list(wanted))


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


def fails(why: str) -> str:
    raise LookupError(why)


class OneCall(Case):
    def test_client_function_call(self):
        daemon = self.daemon(function_call=[calls(call("add", a=1, b=2))])
        client = self.client()
        answer = client.function_call(
            [{"role": "user", "content": "1 + 2?"}],
            [add, FunctionDefinition("other"), {"name": "third"}],
            "add",
            temperature=0,
            system="be exact",
        )
        self.assertEqual(answer.tool_calls[0].name, "add")
        self.assertEqual(answer.tool_calls[0].parsed_arguments(), {"a": 1, "b": 2})
        sent = daemon.asked[0].params
        self.assertEqual([one["name"] for one in sent["functions"]], ["add", "other", "third"])
        self.assertEqual(sent["functions"][0]["description"], "Add two numbers.")
        self.assertEqual(sent["function_call"], "add")
        self.assertEqual([one["role"] for one in sent["messages"]], ["system", "user"])
        self.assertEqual(client.function_call("1 + 2?", [add]).tool_calls[0].name, "add")
        self.assertEqual(
            daemon.asked[1].params["messages"], [{"role": "user", "content": "1 + 2?"}]
        )


class Loop(Case):
    def test_calls_are_made_and_told_until_there_is_an_answer(self):
        first = calls(call("add", "c1", a=1, b=2), call("add", "c2", a=5))
        daemon = self.daemon(complete=[first, "It is 3, and 6."])
        given = [{"role": "user", "content": "sums"}]
        answer = self.client().run_tools(given, {"add": add}, function_call="required", seed=1)
        self.assertEqual(answer.content, "It is 3, and 6.")
        self.assertEqual(len(given), 1)
        one, two = (asked.params for asked in daemon.asked)
        self.assertEqual((one["function_call"], one["seed"]), ("required", 1))
        self.assertNotIn("function_call", two)
        self.assertNotEqual(one["request_id"], two["request_id"])
        self.assertEqual(two["messages"][1]["tool_calls"], first["tool_calls"])
        self.assertEqual(
            two["messages"][2:],
            [
                {"role": "tool", "tool_call_id": "c1", "content": "3"},
                {"role": "tool", "tool_call_id": "c2", "content": "6"},
            ],
        )

    def test_what_goes_wrong_in_a_function_is_the_models_to_know(self):
        broken = call("add")
        broken["function"]["arguments"] = '{"a": '
        no_object = call("add")
        no_object["function"]["arguments"] = "[1]"
        wanted = [call("fails", why="so"), call("none"), call("add", c=1), broken, no_object]
        daemon = self.daemon(complete=[calls(*wanted), "Sorry."])
        self.client().run_tools("x", {"add": add, "fails": fails})
        told = [
            json.loads(one["content"])["error"] for one in daemon.asked[1].params["messages"][2:]
        ]
        self.assertEqual(told[0], "LookupError: so")
        self.assertEqual(told[1], "there is no function none; there are: add, fails")
        self.assertEqual(told[2], "the arguments do not fit: $: a is missing; $: there is no c")
        self.assertIn("not JSON", told[3])
        self.assertEqual(told[4], "the arguments must be a JSON object")

    def test_what_a_provider_wants_back_of_its_reasoning_is_handed_back(self):
        state = {"wire": "w", "route": "r", "parts": [{"type": "call"}]}
        first = dict(calls(call("add", a=1)), reasoning_state=state)
        daemon = self.daemon(complete=[first, "done"])
        reply = self.client().run_tools("x", {"add": add})
        self.assertIsNone(reply.reasoning_state)
        self.assertEqual(daemon.asked[1].params["messages"][1]["reasoning_state"], state)

    def test_the_rounds_are_bounded(self):
        daemon = self.daemon(complete=[calls(call("add", a=1))])
        with self.assertRaisesRegex(InvalidOutput, "after 3 rounds") as caught:
            self.client().run_tools("x", {"add": add}, max_rounds=3, request_id="mine")
        self.assertEqual(daemon.count("complete"), 3)
        self.assertEqual(
            [asked.params["request_id"] for asked in daemon.asked], ["mine.1", "mine.2", "mine.3"]
        )
        self.assertEqual(len(caught.exception.data["messages"]), 5)

    def test_results_are_texts_or_json_and_anything_else_is_the_callers_bug(self):
        results = ["text", {"é": [1, None]}, None, FunctionDefinition("f")]
        daemon = self.daemon(complete=[calls(*(call("next", "c%d" % n) for n in range(4))), "done"])
        self.client().run_tools("x", {"next": lambda: results.pop(0)})
        told = [one["content"] for one in daemon.asked[1].params["messages"][2:]]
        self.assertEqual(told, ["text", '{"é": [1, null]}', "null", '{"name": "f"}'])
        daemon.reply("complete", calls(call("next")), "done")
        with self.assertRaisesRegex(TypeError, "not JSON serializable"):
            self.client().run_tools("x", {"next": object})

    def test_functions_may_be_described_by_hand(self):
        daemon = self.daemon(complete=["done"])
        function = {"name": "raw", "parameters": {"type": "object"}}
        self.client().run_tools("x", {"raw": lambda *a, **k: 1}, functions=[function], system="s")
        self.assertEqual(daemon.asked[0].params["functions"], [function])
        self.assertEqual(daemon.asked[0].params["messages"][0]["role"], "system")

    def test_senseless_runs_are_refused_at_once(self):
        client = self.client(self.daemon())
        with self.assertRaises(TypeError):
            client.run_tools("x", {})
        with self.assertRaises(ValueError):
            client.run_tools("x", {"add": add}, max_rounds=0)

    def test_a_coroutine_function_needs_the_asyncio_client(self):
        async def later():
            return 1

        self.daemon(complete=[calls(call("later")), "done"])
        with self.assertRaisesRegex(TypeError, "use AsyncClient"):
            self.client().run_tools("x", {"later": later})


class AsyncLoop(Case):
    def run_tools(self, daemon, tools, **options):
        async def run():
            async with AsyncClient(daemon.socket_path) as client:
                return await client.run_tools("x", tools, **options)

        return asyncio.run(run())

    def test_the_calls_of_one_round_run_at_once(self):
        gate = {}

        async def first() -> str:
            gate["loop"] = asyncio.Event()
            await gate["loop"].wait()
            return "first"

        async def second() -> str:
            while "loop" not in gate:  # noqa: ASYNC110  an Event belongs to a loop on Python 3.8
                await asyncio.sleep(0)
            gate["loop"].set()
            return "second"

        def plain() -> str:
            return "main" if threading.current_thread() is threading.main_thread() else "thread"

        async def fails() -> None:
            raise KeyError("no")

        wanted = [call(name, name) for name in ("first", "second", "plain", "fails", "none")]
        daemon = self.daemon(complete=[calls(*wanted), "done"])
        tools = {"first": first, "second": second, "plain": plain, "fails": fails}
        self.assertEqual(self.run_tools(daemon, tools).content, "done")
        told = [one["content"] for one in daemon.asked[1].params["messages"][2:]]
        self.assertEqual(told[:3], ["first", "second", "thread"])
        self.assertIn("KeyError", told[3])
        self.assertIn("there is no function none", told[4])

    def test_a_result_that_cannot_be_told_ends_the_others_too(self):
        ended = []

        async def waits() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append("waits")

        async def odd() -> object:
            return object()

        daemon = self.daemon(complete=[calls(call("waits"), call("odd", "c2"))])
        with self.assertRaises(TypeError):
            self.run_tools(daemon, {"waits": waits, "odd": odd})
        self.assertEqual(ended, ["waits"])

    def test_a_call_of_a_function_is_the_same_in_both_clients(self):
        daemon = self.daemon(function_call=[calls(call("add", a=1))])

        async def run():
            async with AsyncClient(daemon.socket_path) as client:
                return await client.function_call("x", [add], "auto", lane="interactive")

        self.assertEqual(asyncio.run(run()).tool_calls[0].name, "add")
        self.client(timeout_s=600.0).function_call("x", [add], "auto", lane="interactive")
        one, two = (dict(asked.params, request_id=None) for asked in daemon.asked)
        self.assertEqual(one, two)


if __name__ == "__main__":
    unittest.main()
