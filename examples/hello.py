"""The smallest program: one handler for the queue `hello`.

millrace serve --app examples/hello.py:app
"""

from millrace import App, MessageBatch


async def hello(batch: MessageBatch) -> None:
    """Greet whoever each message names."""
    for message in batch.messages:
        print(f"hello, {message.body['name']}! (attempt {message.attempts})", flush=True)


app = App(handlers={"hello": hello})
