//! The tasks of a switchboard.
