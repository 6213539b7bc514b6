"""What `env` holds beside queues, by its kind. How a call gets to the server is passed in."""

from collections.abc import Callable, Mapping

from millrace.coordination.kv_binding import KvBinding
from millrace.handlers.asking import Ask, Binding
from millrace.handlers.d1_binding import D1Database
from millrace.handlers.workflow_binding import WorkflowBinding

KINDS: dict[str, Callable[[Ask], Binding]] = {"d1": D1Database, "kv": KvBinding, "workflow": WorkflowBinding}


def bind_others(kinds: Mapping[str, str], asker: Callable[[str], Ask]) -> dict[str, Binding]:
    """Make bindings, by name, of their kinds; `asker` gives what answers for one."""
    return {name: KINDS[kind](asker(name)) for name, kind in kinds.items()}
