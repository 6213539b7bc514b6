"""Bodies of the type that a handler asks for, read straight from the stored bytes."""

from collections.abc import Callable
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

import msgspec

from millrace.batch import BatchMessage, MessageBatch
from millrace.errors import ConfigurationError
from millrace.handlers.ends import outcome_of
from millrace.handlers.signatures import first_annotation, name_of

Read = Callable[[BatchMessage[Any]], object]


def batch_reader(handler: Callable[..., Any]) -> Read | None:
    """Make what reads the bodies for `(batch: MessageBatch[Order], …)`; None for a batch without such a type.

    Raises:
        ConfigurationError: nothing can be read as that type, or it takes one message.
    """
    annotation = first_annotation(handler)
    if _is_message(annotation):
        name = name_of(handler)
        raise ConfigurationError(f"handler {name} takes a BatchMessage; expected a MessageBatch, or each({name})")
    if get_origin(annotation) is not MessageBatch:
        return None
    return _reader(get_args(annotation)[0], handler)


def message_reader(function: Callable[..., Any]) -> tuple[Read | None, bool]:
    """Make what reads the body for a function of one message, and say whether the function takes the body itself.

    It takes the message when its first parameter is a BatchMessage or says nothing.

    Raises:
        ConfigurationError: nothing can be read as that type, or the annotation cannot be resolved.
    """
    annotation = first_annotation(function)
    if _is_message(annotation):
        arguments = get_args(annotation)
        return (_reader(arguments[0], function) if arguments else None), False
    if isinstance(annotation, str | ForwardRef):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        raise ConfigurationError(f"handler {name_of(function)} takes {text!r}, a name that its module does not have")
    read = _reader(annotation, function)
    return read, read is not None


def fits(message: BatchMessage[Any], batch: MessageBatch[Any], read: Read) -> bool:
    """Read a body as the wanted type; reject the message when it does not fit."""
    try:
        message.body = read(message)
    except BodyMisfit as misfit:
        message.reject(str(misfit))
        return False
    except Exception as error:  # noqa: BLE001 - the type's own code runs here, and has failed like a handler
        note_failure(message, batch, error)
        return False
    return True


def note_failure(message: BatchMessage[Any], batch: MessageBatch[Any], error: Exception) -> None:
    """Note what was raised over one message, for the report and for its outcome."""
    batch.failures.append((message, error))
    message.note(outcome_of(error))


class BodyMisfit(Exception):
    """A body is not of the wanted type."""


def _reader(wanted: Any, function: Callable[..., Any]) -> Read | None:
    if wanted in (None, Any, object) or isinstance(wanted, str | ForwardRef | TypeVar):
        return None
    name = getattr(wanted, "__name__", None) if not get_args(wanted) else None
    shown = name or str(wanted)
    _check_type(wanted, shown, function)
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wanted)

    def read(message: BatchMessage[Any]) -> object:
        try:
            if message.content_type == "json":
                return decoder.decode(message.raw_body)
            return msgspec.convert(message.body, wanted)
        except msgspec.MsgspecError as error:
            raise BodyMisfit(f"body does not fit {shown}: {error}") from None

    return read


def _check_type(wanted: Any, shown: str, function: Callable[..., Any]) -> None:
    """Find out now what msgspec would find out with each message: it takes any class, and then nothing fits it."""
    try:
        msgspec.json.schema(wanted, schema_hook=_schema_of_object)
    except (TypeError, NameError) as error:
        expected = "expected a msgspec.Struct, dataclass, TypedDict or built-in type"
        sentence = f"handler {name_of(function)}: no body can be read as {shown}; {expected} ({_first_line(error)})"
        raise ConfigurationError(sentence) from None


def _schema_of_object(kind: type) -> dict[str, Any]:
    if kind is not object:
        raise NotImplementedError
    return {"title": "object"}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _is_message(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2] == BatchMessage.__name__
    return annotation is BatchMessage or get_origin(annotation) is BatchMessage
