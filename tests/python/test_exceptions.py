"""The exception tree: complete, stable, told apart, and what the native module raises."""

import pickle
import re
from collections.abc import Iterator

import pytest

import a2alinker
from a2alinker import _core, exceptions
from a2alinker.exceptions import A2ALinkerError


def tree(base: type[A2ALinkerError] = A2ALinkerError) -> Iterator[type[A2ALinkerError]]:
    yield base
    for child in base.__subclasses__():
        yield from tree(child)


CLASSES = list(tree())
BASES = {"A2ALinkerError", "LinkError", "SecurityError", "InviteError", "DeliveryError", "CallError"}
# Those that the Python side finds out by itself.
RAISED_HERE = {
    "NotReachable", "AmbiguousPeer", "Refused", "Undelivered", "FrameworkMissing", "PartialAnswersLost", "StreamRestarted", "BodySourceFailed", "BodyTooLarge", "BodyNotSaved", "TimedOut", "AlreadyConsumed", "NoEventLoop", "WrongLoop",
    "WouldDeadlock",
}  # fmt: skip


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    printed = re.findall(r"^[ │├└─]*([A-Z]\w+)(?: \(([\w, ]+)\))?(?:  |$)", (exceptions.__doc__ or "").split("Each has")[0], re.MULTILINE)
    real = [(c.__name__, ", ".join(b.__name__ for b in c.__bases__ if not issubclass(b, A2ALinkerError))) for c in CLASSES]
    assert printed == [(name, "" if builtin == "Exception" else builtin) for name, builtin in real]


def test_each_code_is_stable_and_its_own() -> None:
    codes = [c.code for c in CLASSES]
    assert len(set(codes)) == len(codes)
    assert {"peer_gone", "outbox_full", "invite_used", "untrusted_switchboard", "agent_closed", "forked"} < set(codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_is_public_documented_and_survives_pickling(kind: type[A2ALinkerError]) -> None:
    assert getattr(a2alinker, kind.__name__) is kind
    assert kind.__doc__
    assert str(kind())
    error = kind("what happened")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (kind, "what happened", vars(error))


def test_builtins_are_caught_where_python_has_the_word() -> None:
    assert issubclass(exceptions.CallTimeout, TimeoutError)
    assert issubclass(exceptions.PeerUnknown, LookupError)
    assert issubclass(exceptions.BodyError, ValueError)
    assert issubclass(exceptions.BodyError, TypeError)
    assert issubclass(exceptions.LinkError, ConnectionError)
    assert issubclass(exceptions.NotPermitted, PermissionError)
    assert not issubclass(exceptions.RemoteError, OSError)


def test_what_the_native_module_raises_is_of_the_tree_and_says_something() -> None:
    samples = _core._error_samples()
    assert len(samples) > 60
    for error in samples:
        assert isinstance(error, A2ALinkerError), repr(error)
        assert type(error) is not A2ALinkerError
        assert str(error)
    raised = {type(error).__name__ for error in samples}
    assert raised >= {kind.__name__ for kind in CLASSES} - BASES - RAISED_HERE


def test_an_unknown_remote_error_keeps_type_and_text() -> None:
    error = exceptions.RemoteError("no such file", type="FileNotFoundError")
    assert (error.type, error.text, str(error)) == ("FileNotFoundError", "no such file", "FileNotFoundError: no such file")
