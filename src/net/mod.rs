//! The I/O shell: sockets, TLS, WebSocket, timers and tasks that feed the state machines and obey them.

pub mod os;
