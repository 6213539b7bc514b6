"""A row of yours and a message about it, committed together or not at all: on SQLite, which has one writer.

python examples/in_your_transaction_sqlite.py sqlite:///data/millrace.db     # while no server has that directory
"""

import asyncio
import sys

from millrace import Database
from millrace.direct import Writing


def place_order(writing: Writing, item: str, count: int) -> int:
    """Write an order and tell those who pack it. It may run twice, and must not wait for anything."""
    ((number,),) = writing.execute("insert into orders (item, count) values ($1, $2) returning number", (item, count))
    writing.send("orders", {"order": number, "item": item})
    if count > 100:
        raise ValueError("nobody can carry that")
    return number


async def main(url: str) -> None:
    """Place an order that is kept, and one that is not."""
    async with Database.open(url) as database:
        await database.ensure_queue("orders")
        table = (
            "create table if not exists orders (number integer primary key, item text not null, count integer not null)"
        )
        await database.write(lambda writing: writing.execute(table))
        number = await database.write(lambda writing: place_order(writing, "tea", 3))
        print("order", number, "is placed, and whoever packs it is told")
        try:
            await database.write(lambda writing: place_order(writing, "anvil", 1000))
        except ValueError as error:
            print(f"no order, and no message: {error}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
