//! One agent as a state machine: its link, sessions, delivery, roster and calls.

pub mod card;
pub mod definitions;
pub mod message;
pub mod roster;
pub mod section;
