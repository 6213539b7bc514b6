"""A row of yours and a message about it, committed together or not at all: with a session of SQLAlchemy.

millrace db migrate --store postgresql://localhost/shop     # once, or start a server on it
python examples/in_your_transaction_sqlalchemy.py postgresql://localhost/shop
"""

import asyncio
import sys

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from millrace import Database


class Table(DeclarativeBase):
    """What SQLAlchemy knows tables by."""


class Order(Table):
    """An order of so many of an item."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    count: Mapped[int]


async def place_order(session: AsyncSession, database: Database, item: str, count: int) -> int:
    """Write an order and tell those who pack it, in one transaction."""
    async with session.begin():
        order = Order(item=item, count=count)
        session.add(order)
        await session.flush()  # it has its number from here on
        number = order.number
        await database.queue("orders").send({"order": number, "item": item}, connection=session)
        if count > 100:
            raise ValueError("nobody can carry that")
    return number


async def main(url: str) -> None:
    """Place an order that is kept, and one that is not."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))  # or postgresql+psycopg://
    async with engine.begin() as connection:
        await connection.run_sync(Table.metadata.create_all)
    async with Database.open(url) as database, AsyncSession(engine) as session:
        await database.ensure_queue("orders")
        print("order", await place_order(session, database, "tea", 3), "is placed, and whoever packs it is told")
        try:
            await place_order(session, database, "anvil", 1000)
        except ValueError as error:
            print(f"no order, and no message: {error}")
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
