"""What each method sends, and what it makes of the answer."""

import unittest

from sutler import FunctionDefinition, InternalError, InvalidParams, Message, calls, options
from sutler.calls import Defaults


def defaults(**labels):
    return Defaults(60.0, labels, lambda: "fresh-id")


class Parameters(unittest.TestCase):
    def test_a_prompt_stays_a_prompt(self):
        call = calls.complete("hi", {"system": "be kind", "temperature": 0}, defaults())
        self.assertEqual(
            call.params,
            {"prompt": "hi", "system": "be kind", "temperature": 0, "request_id": "fresh-id"},
        )
        self.assertEqual((call.method, call.timeout_s, call.repeatable), ("complete", 60.0, True))

    def test_messages_may_be_values_or_objects_and_the_systems_comes_first(self):
        given = [Message.user("a"), {"role": "assistant", "content": "b"}]
        call = calls.complete(given, {"system": "s"}, defaults())
        self.assertEqual(
            [message["role"] for message in call.params["messages"]],
            ["system", "user", "assistant"],
        )
        self.assertEqual(len(given), 2)
        for one in (Message.user("a"), {"role": "user", "content": "a"}):
            call = calls.complete(one, {}, defaults())
            self.assertEqual(call.params["messages"], [{"role": "user", "content": "a"}])

    def test_functions_may_be_values_too(self):
        function = FunctionDefinition("f", parameters={"type": "object"})
        call = calls.complete("x", {"functions": [function, {"name": "g"}]}, defaults())
        self.assertEqual(
            call.params["functions"],
            [{"name": "f", "parameters": {"type": "object"}}, {"name": "g"}],
        )

    def test_none_is_not_sent_and_false_and_zero_are(self):
        call = calls.complete(
            "x", {"model": None, "fallback": False, "seed": 0, "stop": ()}, defaults()
        )
        self.assertEqual(
            call.params,
            {"prompt": "x", "fallback": False, "seed": 0, "stop": [], "request_id": "fresh-id"},
        )

    def test_an_unknown_option_names_the_nearest(self):
        with self.assertRaisesRegex(
            TypeError, "no option 'temprature'; did you mean 'temperature'"
        ):
            calls.complete("x", {"temprature": 1}, defaults())
        with self.assertRaisesRegex(TypeError, r"embed\(\) has no option 'temperature'"):
            calls.embed("x", {"temperature": 1}, defaults())

    def test_the_options_that_type_checkers_see_are_those_that_are_taken(self):
        self.assertEqual(set(options.CompleteOptions.__annotations__), calls.COMPLETE_OPTIONS)
        self.assertEqual(set(options.EmbedOptions.__annotations__), calls.EMBED_OPTIONS)
        self.assertEqual(set(options.PromptOptions.__annotations__), calls.PROMPT_OPTIONS)

    def test_labels_of_the_client_and_of_the_call_are_joined(self):
        own = {"rank": "3", "project": "p"}
        call = calls.chat("x", None, {"labels": own}, defaults(project="q", component="c"))
        self.assertEqual(call.params["labels"], {"project": "p", "component": "c", "rank": "3"})
        self.assertEqual(own, {"rank": "3", "project": "p"})

    def test_a_time_limit_is_a_number_of_seconds(self):
        self.assertEqual(calls.chat("x", None, {"timeout_s": 3}, defaults()).timeout_s, 3.0)
        for wrong in (0, -1, float("nan"), float("inf"), "5", True):
            with self.assertRaisesRegex(InvalidParams, r"params\.timeout_s: must be"):
                calls.chat("x", None, {"timeout_s": wrong}, defaults())

    def test_json_asks_with_a_schema(self):
        call = calls.json("x", {"type": "object"}, {"system": "s"}, defaults())
        self.assertEqual(call.method, "json")
        self.assertEqual(call.params["schema"], {"type": "object"})
        self.assertEqual(call.value({"parsed": {"a": 1}}), {"a": 1})

    def test_a_template_is_asked_for_with_its_variables_and_the_options_of_a_call(self):
        options_of_call = {"timeout_s": 3, "temperature": 0}
        call = calls.prompt(
            "plan@1", {"name": "n", "a": 1}, {"a": 2, "b": None}, options_of_call, defaults()
        )
        self.assertEqual(
            call.params,
            {
                "name": "plan@1",
                "variables": {"name": "n", "a": 2},
                "temperature": 0,
                "request_id": "fresh-id",
            },
        )
        self.assertEqual((call.method, call.timeout_s, call.repeatable), ("prompts.run", 3.0, True))
        self.assertEqual(options_of_call, {"timeout_s": 3, "temperature": 0})
        use = {"name": "plan", "version": "1.2", "hash": "ab"}
        self.assertEqual(call.value({"content": "x", "prompt": use}).prompt, use)
        with self.assertRaisesRegex(TypeError, "prompts.run.. has no option 'system'"):
            calls.prompt("plan", None, {}, {"system": "x"}, defaults())

    def test_a_rendered_template_has_messages_and_a_hash(self):
        call = calls.render("plan", None, {"goal": Message.user("x")}, defaults())
        self.assertEqual(call.params["variables"], {"goal": {"role": "user", "content": "x"}})
        self.assertTrue(call.repeatable)
        wire = {"messages": [{"role": "user", "content": "x"}], "name": "plan"}
        rendered = call.value(
            dict(wire, version="1.0", hash="ab", schema=None, defaults={"seed": 1})
        )
        self.assertEqual((rendered.name, rendered.version, rendered.hash), ("plan", "1.0", "ab"))
        self.assertEqual((rendered.messages, rendered.schema), (wire["messages"], None))
        self.assertEqual(rendered.defaults, {"seed": 1})

    def test_texts_are_embedded_in_base64(self):
        call = calls.embed("one", {"dimensions": 4}, defaults())
        self.assertEqual(
            call.params,
            {
                "texts": ["one"],
                "encoding_format": "base64",
                "dimensions": 4,
                "request_id": "fresh-id",
            },
        )
        self.assertEqual(calls.embed(("a", "b"), {}, defaults()).params["texts"], ["a", "b"])

    def test_tokens_are_counted_of_a_text_or_of_messages(self):
        self.assertEqual(calls.count_tokens("x", "m", None, defaults()).params["text"], "x")
        call = calls.count_tokens([Message.user("x")], None, 5, defaults())
        self.assertEqual(call.params, {"messages": [{"role": "user", "content": "x"}]})
        self.assertEqual((call.timeout_s, call.tells_time, call.repeatable), (5.0, False, True))


class AnyMethod(unittest.TestCase):
    def test_what_a_model_answers_gets_an_id_and_a_time_limit(self):
        given = {"prompt": "x", "timeout_s": 7}
        call = calls.plain("chat", given, None, defaults(a="b"))
        self.assertEqual(call.params["request_id"], "fresh-id")
        self.assertEqual(call.params["labels"], {"a": "b"})
        self.assertEqual((call.timeout_s, call.tells_time), (7.0, True))
        self.assertEqual(given, {"prompt": "x", "timeout_s": 7})

    def test_only_what_does_no_harm_or_is_named_may_be_sent_twice(self):
        for method, params, repeatable in (
            ("status", None, True),
            ("chat", {"prompt": "x"}, True),
            ("budget.amend", {"name": "n"}, False),
            ("budget.amend", {"request_id": "r"}, True),
            ("cache.clear", None, True),
        ):
            call = calls.plain(method, params, None, defaults())
            self.assertEqual(call.repeatable, repeatable, method)
            self.assertEqual(call.value({"x": 1}), {"x": 1})

    def test_a_result_without_what_it_promises_is_an_internal_error(self):
        with self.assertRaisesRegex(InternalError, "result of embed is broken: KeyError"):
            calls.embed("x", {}, defaults()).value({})
        with self.assertRaisesRegex(InternalError, "result of chat is broken"):
            calls.chat("x", None, {}, defaults()).value([])
