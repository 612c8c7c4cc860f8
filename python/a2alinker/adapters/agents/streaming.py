"""What listens to a remote agent's partial answers: the events of a response in the form of the Responses API.

    response.created
      output_item.added, content_part.added          with the first text
        output_text.delta ...                        the line of fact, then what the remote agent says, as it says it
      output_text.done, content_part.done, output_item.done
    response.completed                                with the answer as its one output

What has gone out can't be taken back. A text that turns out not to be the answer, because the remote agent called a tool after it or another worker
has taken over, ends as an item with the status `incomplete`, and what comes next is an item of its own. The completed response has the answer alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from agents.models.fake_id import FAKE_RESPONSES_ID
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)

from ...peer import Peer
from .._conversations import delta_of
from .._words import Pieces, fact

Status = Literal["in_progress", "completed", "incomplete"]


def message(text: str, status: Status = "completed") -> ResponseOutputMessage:
    """Returns what an assistant said. Its id is the SDK's mark for items that no server of OpenAI knows."""
    part = ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])
    return ResponseOutputMessage(id=FAKE_RESPONSES_ID, content=[part], role="assistant", type="message", status=status)


class Listening:
    """Makes events of one response as partial answers come. In this order: `begin`, `began` and `part` as often as there are any, `end`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._began = time.time()
        self._number = 0  # of the next event
        self._items = 0  # how many were begun
        self._open = False  # whether the last of them goes on
        self._sent = ""  # of the text of the open one
        self._pieces = Pieces()
        self._peer: Peer | None = None

    def begin(self) -> Any:
        """Opens the response."""
        return ResponseCreatedEvent(response=self._response([], "in_progress"), type="response.created", sequence_number=self._next())

    def began(self, peer: Peer | None) -> Iterator[Any]:
        """An agent gives its first partial answer: what another one has said isn't the answer."""
        yield from self._close("incomplete")
        self._peer = peer

    def part(self, part: Any) -> Iterator[Any]:
        """Takes a partial answer. One that is no text ends a text that isn't the answer."""
        delta = delta_of(part)
        if delta is None:
            yield from self._close("incomplete")
        elif delta:
            if not self._open:
                yield from self._start(f"{fact(self._peer)}\n")
            yield from self._delta(self._pieces.add(delta))

    def end(self, output: Sequence[Any]) -> Iterator[Any]:
        """Closes the response with what it gives: a message, and perhaps a function call."""
        text = output[0].content[0].text
        if self._open and text.startswith(self._sent):
            yield from self._delta(text[len(self._sent) :])
        else:
            yield from self._close("incomplete")
            yield from self._start(text)
        yield from self._close("completed")
        for item in output[1:]:
            yield from self._whole(item)
        yield ResponseCompletedEvent(
            response=self._response(list(output), "completed"), type="response.completed", sequence_number=self._next()
        )

    def _start(self, text: str) -> Iterator[Any]:
        self._open, self._sent, self._pieces = True, "", Pieces()
        item = message("", "in_progress").model_copy(update={"content": []})
        yield ResponseOutputItemAddedEvent(
            item=item, output_index=self._items, type="response.output_item.added", sequence_number=self._next()
        )
        yield ResponseContentPartAddedEvent(
            part=message("").content[0],
            item_id=FAKE_RESPONSES_ID,
            output_index=self._items,
            content_index=0,
            type="response.content_part.added",
            sequence_number=self._next(),
        )
        yield from self._delta(text)

    def _delta(self, text: str) -> Iterator[Any]:
        if not text:
            return
        self._sent += text
        yield ResponseTextDeltaEvent(
            delta=text,
            logprobs=[],
            item_id=FAKE_RESPONSES_ID,
            output_index=self._items,
            content_index=0,
            type="response.output_text.delta",
            sequence_number=self._next(),
        )

    def _close(self, status: Status) -> Iterator[Any]:
        if not self._open:
            return
        self._open = False
        item = message(self._sent, status)
        place: dict[str, Any] = {"output_index": self._items, "content_index": 0, "item_id": FAKE_RESPONSES_ID}
        yield ResponseTextDoneEvent(text=self._sent, logprobs=[], type="response.output_text.done", sequence_number=self._next(), **place)
        yield ResponseContentPartDoneEvent(part=item.content[0], type="response.content_part.done", sequence_number=self._next(), **place)
        yield ResponseOutputItemDoneEvent(
            item=item, output_index=self._items, type="response.output_item.done", sequence_number=self._next()
        )
        self._items += 1

    def _whole(self, item: ResponseFunctionToolCall) -> Iterator[Any]:
        yield ResponseOutputItemAddedEvent(
            item=item, output_index=self._items, type="response.output_item.added", sequence_number=self._next()
        )
        yield ResponseOutputItemDoneEvent(
            item=item, output_index=self._items, type="response.output_item.done", sequence_number=self._next()
        )
        self._items += 1

    def _response(self, output: list[Any], status: Literal["in_progress", "completed"]) -> Response:
        return Response(
            id=FAKE_RESPONSES_ID,
            created_at=self._began,
            model=self._model,
            object="response",
            output=output,
            tool_choice="auto",
            tools=[],
            parallel_tool_calls=False,
            status=status,
        )

    def _next(self) -> int:
        self._number += 1
        return self._number - 1
