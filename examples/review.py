"""Two agents in one program: one offers a skill, the other calls it, with partial answers on the way.

    python examples/review.py

For two machines, see relay_host.py and relay_worker.py.
"""

import ast
import asyncio
from collections.abc import AsyncIterator

import a2alinker


@a2alinker.skill
async def review(source: str) -> AsyncIterator[str]:
    """Finds functions without a docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not ast.get_docstring(node):
            yield f"line {node.lineno}: {node.name}() needs a docstring"


async def main() -> None:
    """Hosts a planner and a reviewer."""
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(kind="ticket", local=True)
        async with a2alinker.join("reviewer", invite, skills=[review]):
            reviewer = await planner.wait_for(skill="review")
            print((await reviewer.describe("review")).description)
            async for finding in planner.call("review", "def f(): pass\n\ndef g():\n    'Documented.'\n"):
                print(finding)


asyncio.run(main())
