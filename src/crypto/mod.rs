//! Keys, certificates, seals and sessions. Sees payloads, never addresses or sockets.
