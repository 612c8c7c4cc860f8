"""a2alinker in CrewAI: skills of other machines as tools of a crew, and a crew as a skill.

    from a2alinker import sync
    from a2alinker.adapters.crewai import tools_from

    with sync.join("desk", ticket) as desk:
        writer = Agent(role="Writer", goal=..., backstory=..., tools=tools_from(desk, ["review"]))
        Crew(agents=[writer], tasks=[...]).kickoff()

`tools_from` makes a `RemoteSkillTool` of each skill; `SendTool` and `InboxTool` are for messages. `offer_crew` and `offer_agent` go the other way. See
docs/crewai.md.
"""

from typing import Final

from .._frameworks import require
from .._reach import cancel_scope

VERSION: Final = require(  # of the CrewAI that is installed; before anything here imports it
    "crewai",
    "crewai",
    extra="crewai",
    at_least="1.15",
    trap="Beside mcp 2 pip silently takes a crewai of the year before: pip install 'mcp<2'",
)

from .offers import offer_agent, offer_crew  # noqa: E402
from .tools import InboxTool, RemoteSkillTool, SendTool, atools_from, tools_from  # noqa: E402

__all__ = [
    "VERSION",
    "InboxTool",
    "RemoteSkillTool",
    "SendTool",
    "atools_from",
    "cancel_scope",
    "offer_agent",
    "offer_crew",
    "tools_from",
]
