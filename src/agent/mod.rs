//! One agent as a state machine: its link, sessions, delivery, roster and calls.
