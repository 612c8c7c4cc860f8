//! The core in virtual time: every policy that `mod.rs` names, and hostile input.

mod data;
mod governor;
mod hostile;
mod labels;
mod links;
mod parking;
mod resume;
mod slots;
mod strangers;
mod world;
