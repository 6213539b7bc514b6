"""A row of yours and a message about it, committed together or not at all: with asyncpg.

millrace db migrate --store postgresql://localhost/shop     # once, or start a server on it
python examples/in_your_transaction_asyncpg.py postgresql://localhost/shop
"""

import asyncio
import sys

import asyncpg

from millrace import Database


async def place_order(connection: asyncpg.Connection, database: Database, item: str, count: int) -> int:
    """Write an order and tell those who pack it, in one transaction."""
    async with connection.transaction():
        number = await connection.fetchval(
            "insert into orders (item, count) values ($1, $2) returning number", item, count
        )
        await database.queue("orders").send({"order": number, "item": item}, connection=connection)
        if count > 100:
            raise ValueError("nobody can carry that")
    return number


async def main(url: str) -> None:
    """Place an order that is kept, and one that is not."""
    async with Database.open(url) as database:
        await database.ensure_queue("orders")
        connection = await asyncpg.connect(url)
        await connection.execute(
            "create table if not exists orders (number serial primary key, item text not null, count integer not null)"
        )
        print("order", await place_order(connection, database, "tea", 3), "is placed, and whoever packs it is told")
        try:
            await place_order(connection, database, "anvil", 1000)
        except ValueError as error:
            print(f"no order, and no message: {error}")
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
