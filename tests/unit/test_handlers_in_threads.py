"""A plain function runs in a thread; its bindings wait by themselves, so that no send is left unawaited."""

import asyncio
import functools

from millrace.batch import MessageBatch
from millrace.bindings import Env, QueueBinding
from millrace.handlers import as_call
from millrace.message import Backlog


def an_env(sent):
    async def send(messages, delay_seconds):
        await asyncio.sleep(0)
        sent.extend(message.body for message in messages)
        return Backlog(len(sent), 0, 0)

    return Env({"OUT": QueueBinding(send), "NAME": "shop"}, lambda name: QueueBinding(send) if name.isupper() else None)


async def test_a_plain_function_sends_and_goes_on_when_that_is_done():
    sent = []

    def handle(batch, env):
        assert env.OUT.send(env.NAME).count == 1
        assert env.MADE_UP.send_batch([{"body": 2}]).count == 2

    await as_call(handle)(MessageBatch("q", []), an_env(sent))

    assert sent == [b'"shop"', b"2"]


async def test_a_plain_function_with_a_loop_of_its_own_awaits_its_sends_there():
    sent = []

    async def inner(env):
        await env.OUT.send(1)

    def handle(batch, env):
        asyncio.run(inner(env))

    await as_call(handle)(MessageBatch("q", []), an_env(sent))

    assert sent == [b"1"]


async def test_an_async_function_that_a_decorator_hides_awaits_its_sends():
    sent = []

    def hidden(function):
        @functools.wraps(function)
        def call(*arguments):
            return function(*arguments)

        return call

    @hidden
    async def handle(batch, env):
        await env.OUT.send(1)

    await as_call(handle)(MessageBatch("q", []), an_env(sent))

    assert sent == [b"1"]
