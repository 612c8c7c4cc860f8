"""Agents, switchboard and network as real processes, all of which go wrong: killed, stopped, cut off. What they say they did is checked.

proxy     the chaos proxy (tests/chaos_proxy/) and the hand on it
journal   what senders, receivers and the one who kills them write down, a line each
agents    the programs: a sender, a receiver
world     all processes of a run
storm     what goes wrong in it, drawn from a seed
checker   holds the journals against the guarantee of ARCHITECTURE.md
"""
