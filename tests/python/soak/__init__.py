"""`make soak`: legs that look for what shows only after a while.

    python -m soak --minutes 10 --seed 1 [LEG ...]

    seeds      simulated networks, and sieges by a hostile switchboard
    chaos      real processes that are killed, stopped and cut off, 100,000 messages a run
    memory     a steady load with large bodies; how fast the memory of each process grows
    decoders   random and damaged input for all that is decoded
    cut        a link that is cut for a minute; needs root, and takes as long as it takes
    large      bodies of 50 MB on narrow links and a file of 1 GiB between programs; needs root, and takes as long as it takes

Each leg takes so many minutes, and ends the round that is under way then. The summary says how long each ran.
"""
