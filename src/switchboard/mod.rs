//! The relay as a state machine: links, labels and lanes. Takes frames, returns commands and routes, never sends.
