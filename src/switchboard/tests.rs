//! The core in virtual time: every policy that `mod.rs` names, and hostile input.

mod data;
mod hostile;
mod labels;
mod links;
mod slots;
mod strangers;
mod world;
