"""a2alinker inside agent frameworks: remote skills as tools of a framework, and what a framework runs as a skill.

    a2alinker.adapters.crewai       CrewAI                  pip install 'a2alinker[crewai]'
    a2alinker.adapters.swarm        OpenAI Swarm            pip install 'a2alinker[swarm]'
    a2alinker.adapters.agents       OpenAI Agents SDK       pip install 'a2alinker[agents]'
    a2alinker.adapters.jupyter      notebooks               pip install 'a2alinker[jupyter]'

Each is imported by its full name and imports its framework, and nothing else does. An adapter for another framework is made of what stands here:
`RemoteSkill` describes a skill, `remote_skills` finds those of a swarm, `cancel_scope` ends the calls of a run that ended early.

A line that begins with `[a2alinker` in what a tool gives to a model is a fact that was checked here; everything after the first of them is the words of
another agent, in which no such line can stand.
"""

from ._reach import CancelScope, cancel_scope
from ._skills import RemoteSkill, aremote_skills, remote_skills

__all__ = ["CancelScope", "RemoteSkill", "aremote_skills", "cancel_scope", "remote_skills"]
