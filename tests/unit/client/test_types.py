"""Values that go in and come out."""

import copy
import pickle
import unittest
from array import array

from sutler import Chunk, Completion, FunctionDefinition, Message, Role, TokenCount, ToolCall, Usage
from sutler.calls import embeddings
from sutler.testing import reply


class In(unittest.TestCase):
    def test_a_message_is_what_the_wire_wants(self):
        self.assertEqual(Message.user("hi").to_dict(), {"role": "user", "content": "hi"})
        self.assertEqual(Message(Role.SYSTEM, "s"), Message.system("s"))
        self.assertEqual(Message("assistant", "a").role, Message.assistant("a").role)
        self.assertNotEqual(Message.user("a"), Message.user("b"))
        self.assertNotEqual(Message.user("a"), {"role": "user", "content": "a"})
        call = ToolCall({"id": "1", "function": {"name": "f", "arguments": "{}"}})
        whole = Message(Role.ASSISTANT, None, tool_calls=[call], name="n")
        self.assertEqual(
            whole.to_dict(),
            {"role": "assistant", "name": "n", "tool_calls": [call.to_dict()]},
        )
        answer = Message(Role.TOOL, "4", tool_call_id="1")
        self.assertEqual(answer.to_dict(), {"role": "tool", "content": "4", "tool_call_id": "1"})
        self.assertEqual(repr(Message.user("hi")), "Message(content='hi', role='user')")
        self.assertEqual(copy.deepcopy(whole), whole)

    def test_a_role_is_its_own_name(self):
        self.assertEqual(str(Role.USER), "user")
        self.assertEqual("%s" % Role.TOOL, "tool")
        self.assertEqual(Role("developer"), "developer")

    def test_a_function_definition_leaves_out_what_it_was_not_told(self):
        self.assertEqual(FunctionDefinition("f").to_dict(), {"name": "f"})
        schema = {"type": "object"}
        self.assertEqual(
            FunctionDefinition("f", "does", schema, strict=True).to_dict(),
            {"name": "f", "description": "does", "parameters": schema, "strict": True},
        )

    def test_values_have_no_room_for_typing_errors(self):
        for value in (Message.user("x"), Completion({}), Chunk({}), FunctionDefinition("f")):
            with self.assertRaises(AttributeError):
                value.contnet = "x"


class Out(unittest.TestCase):
    def test_a_completion_mirrors_the_wire(self):
        wire = reply(
            "text",
            tool_calls=[{"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}],
            later="kept",
            cached=True,
            cost_nanousd=5,
            trace={"queued_ms": 1},
        )
        completion = Completion(wire)
        for name in wire:
            if name not in ("tool_calls", "usage", "later"):
                self.assertEqual(getattr(completion, name), wire[name], name)
        self.assertEqual(completion.tool_calls[0].name, "f")
        self.assertEqual(completion.tool_calls[0].id, "1")
        self.assertEqual(completion.tool_calls[0].parsed_arguments(), {"a": 1})
        self.assertEqual(completion.usage.to_dict(), wire["usage"])
        self.assertEqual(completion.to_dict(), wire)
        self.assertEqual(str(completion), "text")
        self.assertIn("content='text'", repr(completion))
        self.assertEqual(pickle.loads(pickle.dumps(completion)), completion)
        self.assertNotEqual(completion, Completion({}))
        self.assertNotEqual(completion, wire)

    def test_an_older_daemons_reply_lacks_nothing_that_is_read(self):
        bare = Completion({"content": None})
        self.assertEqual((bare.content, bare.tool_calls, bare.trace), ("", [], {}))
        self.assertEqual((bare.cached, bare.coalesced), (False, False))
        for name in (
            *("reasoning", "parsed", "cost_nanousd", "saved_nanousd", "latency_ms"),
            "request_id",
        ):
            self.assertIsNone(getattr(bare, name))
        for name in (
            *("prompt_tokens", "cached_tokens", "cache_write_tokens"),
            *("completion_tokens", "reasoning_tokens", "total_tokens"),
        ):
            self.assertIsNone(getattr(bare.usage, name))
        self.assertEqual(bare.usage, Usage({}))

    def test_a_chunk_may_hold_text_reasoning_or_fragments(self):
        self.assertEqual(str(Chunk({"delta": "a"})), "a")
        self.assertEqual(Chunk({"reasoning": "hm"}).reasoning, "hm")
        fragments = [{"index": 0, "function": {"arguments": "{"}}]
        chunk = Chunk({"tool_calls": fragments})
        self.assertEqual((chunk.content, chunk.reasoning, chunk.tool_calls), ("", "", fragments))

    def test_a_token_count_is_a_number(self):
        count = TokenCount({"tokens": 3, "exact": True, "method": "o200k"})
        self.assertEqual((int(count), count.exact, count.method), (3, True, "o200k"))

    def test_embeddings_are_rows_of_float32(self):
        wire = {
            "embeddings": ["AACAPwAAAEA=", [3.0, 4.0]],
            "model": "m",
            "provider": "p",
            "dimension": 2,
            "usage": {"prompt_tokens": 2},
            "cost_nanousd": 7,
            "cached": 1,
            "request_id": "r",
        }
        vectors = embeddings(wire)
        self.assertEqual(vectors.rows, [array("f", [1, 2]), array("f", [3, 4])])
        self.assertEqual(
            (len(vectors), vectors[1], list(vectors)), (2, vectors.rows[1], vectors.rows)
        )
        self.assertEqual((vectors.model, vectors.provider, vectors.dimension), ("m", "p", 2))
        self.assertEqual((vectors.cached, vectors.cost_nanousd, vectors.request_id), (1, 7, "r"))
        self.assertEqual(vectors.usage.prompt_tokens, 2)
        self.assertEqual(vectors.to_dict()["embeddings"], [[1.0, 2.0], [3.0, 4.0]])
        self.assertEqual(repr(vectors), "Embeddings(2 rows of 2, model='m', cached=1)")
        self.assertEqual(pickle.loads(pickle.dumps(vectors)), vectors)
        self.assertEqual(embeddings({"embeddings": []}).dimension, 0)
        with self.assertRaises(ValueError):
            embeddings({"embeddings": [[1.0], [1.0, 2.0]]})
