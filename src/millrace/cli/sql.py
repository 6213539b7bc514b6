"""`millrace d1 execute`: SQL over the published views, with the flags that wrangler has."""

import argparse
import sys
from time import perf_counter

from millrace.cli.clients import client_of
from millrace.cli.printing import print_json, print_table, shortened


def execute(arguments: argparse.Namespace) -> int:
    """Run one statement and print its rows."""
    if arguments.write:
        arguments.refuse("the views are for reading; jobs change over /jobs, queues and messages by `queues`")
    with client_of(arguments) as client:
        began = perf_counter()
        answer = client.sql(arguments.command)
    if arguments.json:
        results = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        meta = {"duration": round((perf_counter() - began) * 1000, 3), "rows_read": len(results)}
        print_json([{"results": results, "success": True, "meta": meta}])
    else:
        print_table(answer.columns, [tuple(map(_shown, row)) for row in answer.rows])
        if answer.is_cut:
            print("… and more; ask for less at once", file=sys.stderr)
    return 0


def _shown(value: object) -> str:
    return "" if value is None else shortened(str(value))
