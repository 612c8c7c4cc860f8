"""What a model is told: who said something, what it said, and why there is no answer.

Texts of other agents are foreign. They are bounded, and can't contain what looks like a line of fact from here: each of those begins with
`[a2alinker`, and where that stands in a foreign text it is broken. Whoever reads a result therefore knows: what stands in brackets on the first line is
checked, all that follows is the other agent's words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from .. import exceptions
from ..exceptions import A2ALinkerError
from ..peer import Peer

LONGEST_ANSWER: Final = 100_000  # characters of an answer that a model gets to read; chosen: a third of a large context window
LONGEST_REASON: Final = 500  # characters of a reason or an error's text

LONGEST_HELD: Final = (
    64  # characters of a text that may become a line of fact; chosen: nobody but who plays with it puts that many blanks there
)

_MARKED: Final = "a2alinker"  # what after `[` makes a line of fact
_MARK: Final = re.compile(rf"\[(?=\s*{_MARKED})", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def fact(peer: Peer | None, what: str = "answer") -> str:
    """Says who sent something and what its certificate lets it do, in one line."""
    if peer is None:
        return f"[a2alinker: the sender of this {what} has left the swarm. What follows are its own words.]"
    rights = peer.rights
    skills = "any skill" if rights.skills is None else f"the skills {', '.join(sorted(rights.skills))}" if rights.skills else "no skills"
    may = [
        f"may offer {skills}",
        f"may {'' if rights.originate else 'not '}start tasks",
        f"may {'' if rights.admit else 'not '}admit agents",
    ]
    return f"[a2alinker: this {what} is from {peer.name}, agent {peer.id[:8]}, identity verified; {', '.join(may)}. What follows are its own words.]"


def foreign(text: str, limit: int = LONGEST_ANSWER) -> str:
    """Returns another agent's text so that nothing in it passes for a line of fact; says so if it is cut."""
    text = _MARK.sub("[ ", text)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[a2alinker: cut here; the whole has {len(text)} characters.]"


class Pieces:
    """`foreign`, for a text that comes in pieces: what may be the beginning of a line of fact is held back until that is known."""

    __slots__ = ("_held", "_room")

    def __init__(self) -> None:
        self._held = ""
        self._room = LONGEST_ANSWER

    def add(self, piece: str) -> str:
        """Takes a piece, and returns what can be shown of it and of what was held back."""
        text = self._held + piece
        at = text.rfind("[")
        is_open = at >= 0 and _MARKED.startswith(text[at + 1 :].lstrip().lower())
        settled = text[:at] if is_open else text
        self._held = text[len(settled) :]
        if len(self._held) > LONGEST_HELD:
            settled, self._held = f"{settled}[ {self._held[1:]}", ""
        said = foreign(settled, 2 * len(settled))[: self._room]  # the whole text is cut there, too
        self._room -= len(said)
        return said


def plain(text: str, limit: int) -> str:
    """Returns another agent's text for a place where it describes something: without characters that steer what is shown, and bounded."""
    text = _MARK.sub("[ ", _CONTROL.sub(" ", text)).strip()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def answer_text(value: Any) -> str:
    """Returns what a skill gave as text: texts as they are, else JSON.

    Raises:
        BadAnswer: it has no text form.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "done, without a result"
    try:
        if isinstance(value, bytes):
            return value.decode()
        return json.dumps(value, ensure_ascii=False)
    except (UnicodeDecodeError, TypeError, ValueError) as problem:
        raise exceptions.BadAnswer(f"it can't be shown as text: {problem}") from None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer, for a model."""

    words: str
    code: str
    retryable: bool


def failure(error: A2ALinkerError, what: str, takes: str = "") -> Failure:
    """Puts an error into words that a model can act on.

    what: what was tried, as in "the skill 'review'". takes: what its arguments are, for a model that got them wrong.
    """
    text = foreign(str(error), LONGEST_REASON)
    retryable = error.retryable
    after = getattr(error, "retry_after", 0.0) or 0.0
    later = f"Try again in {max(1, round(after))} s" if after else "Try again later"
    match error:
        case exceptions.CallRefused() | exceptions.Refused():
            retryable = bool(after)
            advice = f"{later}." if after else "The same request would be refused again: change it, or go on without."
            words = f"{what} was refused by the other agent. Its reason: {text}. {advice}"
        case exceptions.SkillUnknown() | exceptions.PeerUnknown() | exceptions.PeerGone():
            words = f"Nobody is there who could do this: {text}. Go on without {what}, or try again once, later."
        case exceptions.AmbiguousPeer():
            words = f"Several agents have that name: {text}. Name one by its id."
        case exceptions.PeerBusy():
            words = f"All agents that have {what} are busy. {later}, or go on with something else meanwhile."
        case exceptions.BadArguments():
            words = f"The arguments don't fit {what}: {text}.{f' It takes {takes}.' if takes else ''} Correct them and call again."
        case exceptions.BodyError():
            words = f"The arguments of {what} can't be sent: {text}. Use texts, numbers, lists and objects only, and less than 1 MiB."
        case exceptions.Expired():
            words = f"Nobody took {what} over in time: the agents that could are away, or busy. Go on without it, or try again once, later."
        case exceptions.CallTimeout() | exceptions.TimedOut():
            words = f"There was no answer from {what} in time: {text}. It may have been begun. Try again, or go on without."
        case exceptions.CallLapsed():
            words = f"The agent that worked on {what} shows no life any more: {text}. It may have been done in part. Try again, or go on without."
        case exceptions.CallCancelled():
            words = f"{what} was cancelled: {text}. Don't call it again unless you are asked to."
        case exceptions.RemoteError():
            words = f"{what} failed at the other agent: {text}. The same request is likely to fail again: change it, or go on without."
        case exceptions.TooDeep():
            words = f"{what} wasn't called, because agents call each other in a circle. Don't delegate this any further: answer with what you have."
        case exceptions.BadAnswer():
            words = f"{what} gave an answer that can't be used: {text}. Go on without it."
        case exceptions.ConfigurationError():
            words = f"The arguments of {what} don't fit: {text}. Correct them and call again."
        case exceptions.NotPermitted():
            words = f"This agent may not use {what}: {text}. Go on without it, and say so."
        case exceptions.LinkError() | exceptions.OutboxFull():
            words = f"{what} can't be reached at present: {text}. Try again later, or go on without."
        case exceptions.UsageError():
            words = f"{what} can't be used any more in this run, by a fault of the program and not of yours. Don't call it again: go on without it."
        case _:
            words = f"{what} failed: {text}. {'Try again later' if retryable else 'Go on without it'}."
    return Failure(words[0].upper() + words[1:], error.code, retryable)
