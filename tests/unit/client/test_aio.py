"""The asyncio client against a scripted daemon: the same promises, awaited."""

import asyncio
import socket
import time
import unittest

import sutler
from sutler import AsyncClient, Message, ShuttingDown
from sutler.testing import Chunks, Drop, Hold, Raw, reply
from tests.unit.client.support import PATIENCE_S, Case, fault


def echo(asked):
    return asked.params["prompt"]


class AsyncCase(unittest.IsolatedAsyncioTestCase, Case):
    def setUp(self):
        Case.setUp(self)

    async def opened(self, daemon=None, **settings):
        settings.setdefault("timeout_s", PATIENCE_S)
        client = AsyncClient(self.path() if daemon is None else daemon.socket_path, **settings)
        self.addAsyncCleanup(client.aclose)
        return client

    async def until(self, daemon, happened):
        await asyncio.get_running_loop().run_in_executor(None, daemon.wait_for, happened)


class Methods(AsyncCase):
    async def test_each_method_gives_its_value(self):
        client = await self.opened(self.daemon(json=[reply("{}", parsed=[1])]))
        self.assertEqual((await client.complete([Message.user("b")])).content, "b")
        self.assertEqual(await client.chat("hi", "be kind"), "hi")
        self.assertEqual(await client.json("list"), [1])
        self.assertEqual((await client.count_tokens("a b c")).tokens, 3)
        self.assertEqual((await client.models())[0]["id"], "fake-model")
        self.assertEqual((await client.status())["state"], "serving")
        self.assertIn("entries", await client.cache_stats())
        self.assertIn("removed", await client.cache_clear())
        self.assertEqual((await client.hello())["protocol"], 1)
        self.assertIsNone(await client.ping())
        self.assertEqual(len(await client.embed(["x", "y"])), 2)

    async def test_both_clients_have_the_same_methods(self):
        def public(kind):
            return {name for name in vars(kind) if not name.startswith("_")}

        self.assertEqual(public(AsyncClient) - {"aclose"}, public(sutler.Client))

    async def test_many_tasks_share_one_connection_and_get_their_own_answers(self):
        daemon = self.daemon()
        client = await self.opened(daemon)
        answers = await asyncio.gather(*(client.chat("call %d" % n) for n in range(300)))
        self.assertEqual(answers, ["call %d" % n for n in range(300)])
        self.assertEqual(daemon.connections, 1)

    async def test_large_lines_wait_for_room(self):
        daemon = self.daemon()
        client = await self.opened(daemon)
        texts = [chr(ord("a") + n) * 900_000 for n in range(8)]
        self.assertEqual(await asyncio.gather(*map(client.chat, texts)), texts)

    async def test_what_cannot_be_sent_raises_and_the_connection_goes_on(self):
        daemon = self.daemon()
        client = await self.opened(daemon)
        with self.assertRaises(sutler.InvalidRequest):
            await client.chat("\ud800")
        self.assertEqual(await client.chat("x"), "x")
        self.assertEqual((daemon.connections, daemon.count()), (1, 1))

    async def test_a_closed_client_says_so(self):
        async with AsyncClient(self.daemon().socket_path) as client:
            await client.ping()
        with self.assertRaisesRegex(sutler.ConnectionLost, "the client was closed"):
            await client.ping()

    async def test_no_daemon_is_an_error(self):
        with self.assertRaises(sutler.DaemonUnavailable):
            await (await self.opened()).ping()


class Time(AsyncCase):
    async def test_the_limit_holds_and_the_call_is_cancelled(self):
        daemon = self.daemon(complete=[Hold()])
        client = await self.opened(daemon)
        with self.assertRaises(sutler.Timeout):
            await client.complete("x", timeout_s=0.05)
        await self.until(daemon, lambda it: len(it.cancelled) == 1)
        self.assertEqual(await client.chat("next"), "next")
        self.assertEqual(daemon.connections, 1)

    async def test_a_cancelled_task_cancels_its_call(self):
        daemon = self.daemon(complete=[Hold()])
        client = await self.opened(daemon)
        task = asyncio.ensure_future(client.complete("x"))
        await self.until(daemon, lambda it: it.count() == 1)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.until(daemon, lambda it: len(it.cancelled) == 1)
        self.assertEqual(await client.chat("next"), "next")

    async def test_a_line_that_finds_no_room_ends_at_its_limit(self):
        listener = self.listener()
        client = await self.opened(timeout_s=0.2)
        results = await asyncio.gather(
            *(client.chat("x" * 2_000_000) for _ in range(3)), return_exceptions=True
        )
        self.assertEqual([type(result) for result in results], [sutler.Timeout] * 3)
        listener.close()

    @fault("C15")
    async def test_a_full_backlog_is_waited_for_without_blocking_the_loop(self):
        listener = self.listener(backlog=0)
        filler = socket.socket(socket.AF_UNIX)
        self.addCleanup(filler.close)
        filler.connect(self.path())
        client = await self.opened()
        began_s = time.monotonic()
        results = await asyncio.gather(
            client.ping(timeout_s=0.2), client.ping(timeout_s=0.1), return_exceptions=True
        )
        for error in results:
            self.assertIsInstance(error, sutler.DaemonUnavailable)
            self.assertIn("is not accepting", str(error))
            self.assertTrue(error.retryable)
        self.assertLess(time.monotonic() - began_s, PATIENCE_S)
        accepted, _ = listener.accept()
        accepted.close()
        task = asyncio.ensure_future(client.ping())
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.run_in_executor(None, listener.accept)
        with accepted:
            line = await loop.run_in_executor(None, accepted.recv, 1000)
            self.assertIn(b'"ping"', line)
            accepted.sendall(
                b'{"id":%d,"result":{}}\n' % int(line.split(b'"id":')[1].split(b",")[0])
            )
            await task


class Streams(AsyncCase):
    async def test_chunks_come_one_by_one_and_the_whole_reply_at_the_end(self):
        client = await self.opened(self.daemon(complete=[Chunks("a", {"reasoning": "hm"}, "b")]))
        stream = client.stream("x")
        with self.assertRaises(RuntimeError):
            stream.result  # noqa: B018 -- reading it is the test
        self.assertEqual([chunk.content async for chunk in stream], ["a", "", "b"])
        self.assertEqual(stream.result.content, "ab")
        self.assertEqual([chunk async for chunk in stream], [])

    async def test_leaving_a_stream_cancels_it(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        client = await self.opened(daemon)
        async with client.stream("x") as stream:
            self.assertEqual(str(await stream.__anext__()), "a")
        await self.until(daemon, lambda it: len(it.cancelled) == 1)
        with self.assertRaises(sutler.Cancelled):
            stream.result  # noqa: B018 -- reading it is the test

    async def test_a_stream_that_is_let_go_is_cancelled(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        client = await self.opened(daemon)
        stream = client.stream("x")
        await stream.__anext__()
        del stream
        await self.until(daemon, lambda it: len(it.cancelled) == 1)

    async def test_a_silent_stream_ends_at_its_limit(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        stream = (await self.opened(daemon)).stream("x", timeout_s=0.1)
        await stream.__anext__()
        with self.assertRaises(sutler.Timeout):
            await stream.__anext__()
        await self.until(daemon, lambda it: len(it.cancelled) == 1)

    async def test_a_task_cancelled_in_a_stream_cancels_the_call(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold())])
        stream = (await self.opened(daemon)).stream("x")
        await stream.__anext__()
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.__anext__(), 0.05)
        await self.until(daemon, lambda it: len(it.cancelled) == 1)

    @fault("C2")
    async def test_a_stream_cut_after_a_chunk_is_lost(self):
        daemon = self.daemon(complete=[Chunks("a", then=Drop(b'{"half'))])
        stream = (await self.opened(daemon)).stream("x")
        self.assertEqual(str(await stream.__anext__()), "a")
        with self.assertRaises(sutler.ConnectionLost) as caught:
            await stream.__anext__()
        self.assertTrue(caught.exception.retryable)
        with self.assertRaises(sutler.ConnectionLost):
            stream.result  # noqa: B018 -- reading it is the test
        self.assertEqual(daemon.count(), 1)

    @fault("O6")
    async def test_a_stream_that_gave_nothing_yet_is_asked_for_again(self):
        daemon = self.daemon(complete=[Drop(), ShuttingDown("bye"), Chunks("a")])
        stream = (await self.opened(daemon)).stream("x")
        self.assertEqual([str(chunk) async for chunk in stream], ["a"])


class Losses(AsyncCase):
    @fault("O6")
    async def test_a_lost_call_is_sent_once_more_under_its_id_and_no_third_time(self):
        daemon = self.daemon(complete=[Drop(b'{"jsonrpc"'), "whole"])
        client = await self.opened(daemon)
        self.assertEqual((await client.complete("x")).content, "whole")
        self.assertEqual(len({asked.params["request_id"] for asked in daemon.asked}), 1)
        daemon.reply("complete", Drop())
        with self.assertRaises(sutler.ConnectionLost):
            await client.complete("y")
        self.assertEqual(daemon.count(), 4)

    @fault("O5")
    async def test_a_restart_loses_no_call(self):
        daemon = self.daemon(complete=[Hold()])
        client = await self.opened(daemon)
        calls = [asyncio.ensure_future(client.complete("call %d" % n)) for n in range(20)]
        await self.until(daemon, lambda it: it.count() == 20)
        daemon.stop()
        await asyncio.sleep(0.2)
        daemon.reply("complete", echo)
        daemon.start()
        answers = [reply.content for reply in await asyncio.gather(*calls)]
        self.assertEqual(answers, ["call %d" % n for n in range(20)])
        self.assertEqual((daemon.connections, daemon.count()), (2, 40))

    @fault("O5")
    async def test_a_draining_daemon_keeps_what_it_took(self):
        daemon = self.daemon(complete=[Hold("old"), ShuttingDown("bye"), "new"])
        client = await self.opened(daemon)
        old = asyncio.ensure_future(client.complete("x"))
        await self.until(daemon, lambda it: it.count() == 1)
        self.assertEqual((await client.complete("y")).content, "new")
        daemon.release()
        self.assertEqual((await old).content, "old")

    async def test_last_words_are_read_although_a_write_failed(self):
        full = b'{"id":null,"error":{"message":"full","data":{"type":"overloaded",'
        full += b'"retry_after_s":1.5}}}\n'
        listener = self.listener()
        client = await self.opened()
        task = asyncio.ensure_future(client.chat("x"))
        accepted, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        accepted.sendall(full)
        accepted.close()
        with self.assertRaises(sutler.Overloaded) as caught:
            await task
        self.assertEqual(caught.exception.retry_after_s, 1.5)

    async def test_a_daemon_that_talks_nonsense_is_left(self):
        daemon = self.daemon(chat=[Raw(b"nonsense\n"), "sense"])
        self.assertEqual(await (await self.opened(daemon)).chat("x"), "sense")

    @fault("C16")
    async def test_a_fork_leaves_the_parents_connection_alone(self):
        daemon = self.daemon(complete=[Chunks("a", then=Hold("whole"))])
        client = await self.opened(daemon)
        stream = client.stream("x")
        await stream.__anext__()
        program = """
            import asyncio, os, sys, warnings
            import sutler
            async def parent(client):
                await client.ping()
                child = os.fork()
                if child == 0:
                    return None
                os.waitpid(child, 0)
                return await client.chat("parent")
            client = sutler.AsyncClient(sys.argv[1])
            loop = asyncio.new_event_loop()
            answer = loop.run_until_complete(parent(client))
            if answer is None:
                asyncio.set_event_loop(None)
                answer = asyncio.new_event_loop().run_until_complete(client.chat("child"))
                print(answer, flush=True)
                os._exit(0)
            print(answer, flush=True)
            os._exit(0)
        """
        process = self.script(program, daemon.socket_path)
        out, err = await asyncio.get_running_loop().run_in_executor(None, process.communicate)
        self.assertEqual((out, err), ("child\nparent\n", ""))
        daemon.release()
        self.assertEqual([chunk async for chunk in stream], [])
        self.assertEqual(stream.result.content, "whole")


class Map(AsyncCase):
    async def test_replies_come_in_the_order_of_the_prompts(self):
        daemon = self.daemon(complete=[echo])
        client = await self.opened(daemon)
        prompts = ["p%d" % number for number in range(300)]
        self.assertEqual([r.content async for r in client.map(prompts)], prompts)

        async def asynchronous():
            for prompt in prompts:
                yield prompt

        replies = client.map(asynchronous(), max_in_flight=7)
        self.assertEqual([r.content async for r in replies], prompts)
        self.assertEqual(daemon.connections, 1)

    async def test_no_more_than_allowed_are_in_flight(self):
        daemon = self.daemon(complete=[Hold("x")])
        client = await self.opened(daemon)
        replies = client.map(["p"] * 100, max_in_flight=5)
        task = asyncio.ensure_future(replies.__anext__())
        await self.until(daemon, lambda it: it.count() == 5)
        daemon.release()
        await task
        await replies.aclose()
        await self.until(daemon, lambda it: len(it.cancelled) == it.count() - 5)

    async def test_a_failure_raises_at_its_turn_or_is_given(self):
        daemon = self.daemon(complete=["a", sutler.ProviderError("no"), "c"])
        client = await self.opened(daemon)
        replies = client.map(["p"] * 3, max_in_flight=1)
        self.assertEqual((await replies.__anext__()).content, "a")
        with self.assertRaises(sutler.ProviderError):
            await replies.__anext__()
        daemon.reply("complete", "a", sutler.ProviderError("no"), "c")
        given = [r async for r in client.map(["p"] * 3, return_errors=True, max_in_flight=1)]
        self.assertEqual([type(one).__name__ for one in given][1], "ProviderError")

    @fault("O6")
    async def test_losses_and_busy_moments_are_got_over(self):
        busy = sutler.Overloaded("busy", retry_after_s=0.02)
        daemon = self.daemon(complete=[busy, "p", Drop(), ShuttingDown("bye"), echo])
        client = await self.opened(daemon)
        replies = client.map(["p"] * 50, max_in_flight=8)
        self.assertEqual([r.content async for r in replies], ["p"] * 50)

    async def test_wrong_arguments_are_found_before_anything_is_asked(self):
        client = await self.opened(self.daemon())
        with self.assertRaises(sutler.InvalidParams):
            client.map(["x"], max_in_flight=0)


class Loops(Case):
    def test_each_loop_has_its_own_connection(self):
        daemon = self.daemon()
        client = AsyncClient(daemon.socket_path)

        async def once():
            answer = await client.chat("x")
            await client.aclose()
            return answer

        self.assertEqual([asyncio.run(once()) for _ in range(3)], ["x"] * 3)
        self.assertEqual(daemon.connections, 3)
