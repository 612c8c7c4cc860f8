"""Whether `import agents` gives the SDK: many programs have a folder or file of that name, which Python finds first."""

from __future__ import annotations

import importlib

from ...exceptions import FrameworkMissing


def check() -> None:
    """Raises FrameworkMissing if something else is imported as `agents`."""
    module = importlib.import_module("agents")
    if not hasattr(module, "FunctionTool"):
        where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "somewhere")
        raise FrameworkMissing(f"openai-agents is installed, but `import agents` gives {where}: rename that", extra="agents")
