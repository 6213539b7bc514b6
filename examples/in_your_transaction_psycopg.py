"""A row of yours and a message about it, committed together or not at all: with psycopg 3.

millrace db migrate --store postgresql://localhost/shop     # once, or start a server on it
python examples/in_your_transaction_psycopg.py postgresql://localhost/shop
"""

import asyncio
import sys

import psycopg

from millrace import Database


async def place_order(connection: psycopg.AsyncConnection, database: Database, item: str, count: int) -> int:
    """Write an order and tell those who pack it, in one transaction."""
    async with connection.transaction():
        found = await connection.execute(
            "insert into orders (item, count) values (%s, %s) returning number", (item, count)
        )
        (number,) = await found.fetchone()
        await database.queue("orders").send({"order": number, "item": item}, connection=connection)
        if count > 100:
            raise ValueError("nobody can carry that")
    return number


async def main(url: str) -> None:
    """Place an order that is kept, and one that is not."""
    async with Database.open(url) as database, await psycopg.AsyncConnection.connect(url) as connection:
        await database.ensure_queue("orders")
        await connection.execute(
            "create table if not exists orders (number serial primary key, item text not null, count integer not null)"
        )
        await connection.commit()
        print("order", await place_order(connection, database, "tea", 3), "is placed, and whoever packs it is told")
        try:
            await place_order(connection, database, "anvil", 1000)
        except ValueError as error:
            print(f"no order, and no message: {error}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
