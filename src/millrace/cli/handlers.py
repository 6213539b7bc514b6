"""The handlers that a wrangler file names, for this process or for processes of their own."""

from typing import cast

from millrace import python_workers
from millrace.cli.plan import script_of
from millrace.cli.triggers import has_cron_handler, queue_of_program
from millrace.errors import ConfigurationError
from millrace.handlers import Handler
from millrace.programs import load_module, load_object
from millrace.runtime.frames import Program
from millrace.workflows.queues import PREFIX
from millrace.wrangler.file import ConsumerEntry, WranglerFile


def program_of(file: WranglerFile) -> Program | None:
    """Say what child processes are to run for this file; None when it names no handlers."""
    named = {entry.queue: entry.handler for entry in file.consumers if entry.handler is not None}
    queues, has_crons, workflows = _main_queues(file), has_cron_handler(file), _main_workflows(file)
    if not named and not queues and not has_crons and not workflows:
        return None
    return Program(
        folder=str(file.path.parent.resolve()),
        handlers=named,
        main=file.main if queues or workflows or (has_crons and file.scheduled is None) else None,
        main_queues=queues,
        crons_queue=queue_of_program(script_of(file)) if has_crons else None,
        scheduled=file.scheduled,
        bindings=tuple(producer.binding for producer in file.producers),
        workflows=workflows,
        others={other.binding: other.kind for other in file.others},
        variables=file.variables,
    )


def load_handlers(file: WranglerFile) -> dict[str, Handler]:
    """Import the handlers of a file into this process, by queue.

    Raises:
        ConfigurationError: one cannot be imported; the message names file, line and key.
    """
    folder = file.path.parent.resolve()
    handlers = {}
    for entry in file.consumers:
        if entry.handler is not None:
            try:
                handlers[entry.queue] = cast(Handler, load_object(entry.handler, folder))
            except ConfigurationError as error:
                raise _placed(file, f"{entry.path}.handler", error) from error
    queues = _main_queues(file)
    if queues and file.main is not None:
        try:
            python_workers.install()
            handler = python_workers.queue_handler_of(load_module(folder / file.main))
        except ConfigurationError as error:
            raise _placed(file, file.main_path, error) from error
        handlers |= dict.fromkeys(queues, handler)
    return handlers


def refusal_of(file: WranglerFile, key: str | None, sentence: str) -> ConfigurationError:
    """Say where in the file stands what a child process could not load.

    `key` is a queue's name, that of the crons' runs or of a workflow, or None for main.
    """
    if key is not None and key in _main_workflows(file):
        other = next(other for other in file.others if PREFIX + other.target == key)
        return _placed(file, f"{other.path}.class_name", sentence)
    if key is not None and has_cron_handler(file) and key == queue_of_program(script_of(file)):
        path = f"{file.crons_path.removesuffix('crons')}scheduled" if file.scheduled is not None else file.crons_path
        return _placed(file, path, sentence)
    entry = next((entry for entry in file.consumers if entry.queue == key), None)
    path = f"{entry.path}.handler" if entry is not None and entry.handler is not None else file.main_path
    return _placed(file, path, sentence)


def _placed(file: WranglerFile, path: str, problem: object) -> ConfigurationError:
    return ConfigurationError(f'{file.place(path)}: "{path}": {problem}')


def _main_workflows(file: WranglerFile) -> dict[str, str]:
    """Give the classes of the file's Python Worker that are workflows, by the queues of their instances."""
    if file.main is None or not file.main.endswith(".py"):
        return {}
    workflows = [other for other in file.others if other.kind == "workflow"]
    return {PREFIX + other.target: other.class_name for other in workflows if other.class_name is not None}


def _main_queues(file: WranglerFile) -> tuple[str, ...]:
    """Give the queues that the file's Python Worker is fed from: those whose consumer names no handler of its own."""
    if file.main is None or not file.main.endswith(".py"):
        return ()
    return tuple(entry.queue for entry in file.consumers if _is_for_main(entry))


def _is_for_main(entry: ConsumerEntry) -> bool:
    return entry.type == "worker" and entry.handler is None
