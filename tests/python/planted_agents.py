"""Two agents, each a process of its own, that send planted words in every way there is: `python planted_agents.py ROLE`.

The words come as one line of JSON on standard input, so that they stand in no argument and no environment.
"""

# ruff: noqa: T201 - a program that tells the test how far it is

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import a2alinker

LARGE = 300_000  # bytes; enough to be cut into chunks


async def host(words: dict[str, str], switchboard: str) -> None:
    async with a2alinker.host(words["host"], switchboard=switchboard) as agent:
        print(await agent.invite(kind="ticket", local=True), flush=True)
        peer = await agent.wait_for(skill=words["skill"], timeout=30)
        await (await agent.send(peer, words["message"], headers={words["header"]: words["header value"]})).delivered()
        await (await agent.send(peer, words["urgent"], priority="urgent", until="done")).done()
        await (await agent.send(peer, large(words["large"]), priority="bulk")).delivered()
        assert (await agent.request(peer, {words["key"]: words["request"]})).body == words["answer"]
        call = agent.call(words["skill"], words["argument"], named=words["named"])
        assert [part async for part in call] == [words["partial"]]
        assert (await peer.describe(words["skill"])).description == words["description"]
        try:
            await agent.request(peer, words["refused"])
        except a2alinker.CallRefused as refusal:
            assert words["reason"] in str(refusal)  # noqa: PT017 - a program, not a test
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.read)  # the links stay up while memory is searched


async def join(words: dict[str, str], ticket: str) -> None:
    async def stream(argument: str, named: str) -> AsyncIterator[str]:
        assert (argument, named) == (words["argument"], words["named"])
        yield words["partial"]

    skill = a2alinker.skill(name=words["skill"], description=words["description"], tags=[words["tag"]])(stream)
    async with a2alinker.join(words["guest"], ticket, skills=[skill]) as agent:
        serving = asyncio.create_task(serve(agent, words))
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()


async def serve(agent: a2alinker.Agent, words: dict[str, str]) -> None:
    async for message in agent:
        if not message.wants_answer:
            assert message.body in (words["message"], words["urgent"], large(words["large"]))
        elif message.body == words["refused"]:
            await message.refuse(words["reason"])
        else:
            await message.reply(words["answer"])


def large(word: str) -> Any:
    return [word] * (LARGE // len(word))


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run((host if sys.argv[1] == "host" else join)(given["words"], given["address"]))
