"""A second implementation of the protocol, in plain Python, written from PROTOCOL.md: what a client in another language has to do.

It shares nothing with a2alinker: no code, no constant. So it can testify: it computes the vectors of `tests/vectors/` byte by byte, writes
some of its own that the Rust code reads, and joins real agents at a real switchboard. It is a reference, not a product: it is slow,
keeps no time limits of a server, and its ML-KEM and SPAKE2 don't run in constant time.

In the order of PROTOCOL.md:

    codec       1       integers, texts, extensions, base32; the errors
    keys        1, 5    hash, HKDF, Ed25519 signatures; founder, routing and link keys, labels
    link        3.1-3   Challenge, Hello, Welcome; link certificates; notices
    outer       3.4     the Data frame and its outer header
    certificate 5.1     who may do what in a swarm
    card        5.2     what an agent tells about itself
    xwing       5       X25519 and ML-KEM-768 as one key encapsulation
    hpke        5       RFC 9180 on top of it
    sealing     6       padding, AES-256-GCM-SIV, envelopes
    handshake   6.2     opener, answer and what follows from them
    session     6.2     keys and counters of each direction and lane
    section     7       what a session frame holds
    message     7.1     what a message holds; MessagePack
    admission   8       tickets, request and reply
    pairing     9       codes
    delivery    7       numbers, receipts and credit of one lane
    agent       6, 7    a small agent without a socket, which uses all of this
    transport   2       TLS with its exporter, WebSocket, a socket
    client              joins with the agent by ticket or code: read this first

`vectors`, `members` and `transcript` read and write the files of `tests/vectors/`, as section 10 describes them.
"""
