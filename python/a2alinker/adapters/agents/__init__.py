"""a2alinker in the OpenAI Agents SDK: skills of other machines as tools, agents of other machines as handoffs, and an SDK agent as a skill.

    import a2alinker
    from agents import Agent, Runner
    from a2alinker.adapters.agents import atools_from

    async with a2alinker.join("desk", ticket) as desk:
        writer = Agent(name="Writer", instructions=..., tools=await atools_from(desk, ["review"]))
        await Runner.run(writer, "Look through this function: ...")

`tools_from` makes a `FunctionTool` of each skill; `send_tool` and `inbox_tool` are for messages. `remote_agent` is an agent on another machine that a
conversation is handed over to, and `offer_agent` makes one of an agent here. See docs/agents-sdk.md.

In this folder `agents` is the SDK: its distribution is openai-agents, its module has that name.
"""

from typing import Final

from .._frameworks import require
from ._sdk import check

VERSION: Final = require("agents", "openai-agents", extra="agents", at_least="0.20")  # of the SDK that is installed
check()

from .handoff import aremote_agent, remote_agent  # noqa: E402
from .offers import offer_agent  # noqa: E402
from .tools import atools_from, inbox_tool, send_tool, tools_from  # noqa: E402

__all__ = [
    "VERSION",
    "aremote_agent",
    "atools_from",
    "inbox_tool",
    "offer_agent",
    "remote_agent",
    "send_tool",
    "tools_from",
]
