"""For OpenAI Swarm: skills of other agents as functions, agents on other machines as handoff targets, and a Swarm offered as a skill.

    from a2alinker.adapters.swarm import LinkedSwarm, functions_from, remote_agent

    reviewer = remote_agent(link, "review")                     # link: an agent of a2alinker or of a2alinker.sync

    def transfer_to_reviewer():
        return reviewer

    planner = swarm.Agent(name="Planner", functions=[*functions_from(link, ["count_lines"]), transfer_to_reviewer])
    LinkedSwarm().run(planner, messages)

Swarm calls functions one after the other on the thread that runs it and awaits nothing. So all of this blocks, and a Swarm runs on a thread that doesn't
run the loop of its link. `functions` makes functions, `handoff` has the Swarm that asks other machines for completions, `offers` the other direction.
"""

from ...exceptions import FrameworkMissing
from .._frameworks import require

_TRAP = "`swarm` is a game and `swarms` another framework: OpenAI Swarm is the package openai-swarm"
require("swarm", "openai-swarm", extra="swarm", at_least="0.1.1", trap=_TRAP)

import swarm  # noqa: E402  what has its name may do anything when it is imported

if not hasattr(swarm, "Swarm"):
    raise FrameworkMissing(
        f"another package has overwritten a part of openai-swarm: uninstall both, then pip install 'a2alinker[swarm]'. {_TRAP}",
        extra="swarm",
    )

from .functions import afunctions_from, functions_from, inbox_function, send_function  # noqa: E402
from .handoff import LinkedSwarm, RemoteAgent, remote_agent  # noqa: E402
from .offers import offer_swarm  # noqa: E402

__all__ = [
    "LinkedSwarm",
    "RemoteAgent",
    "afunctions_from",
    "functions_from",
    "inbox_function",
    "offer_swarm",
    "remote_agent",
    "send_function",
]
