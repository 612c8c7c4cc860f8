//! Admission: how the holder of a ticket becomes a member of the swarm.
//!
//! Both sides are state machines without a link of their own: whoever drives them registers mailboxes, links as a stranger and
//! carries the two frames.
//!
//! ```text
//! joiner                                      issuer
//!   Joining::new(ticket)                        Invites::create  -> ticket, mailbox to be registered
//!   poll_transmit  --- request, every 2 s -->   Invites::handle_request
//!   handle_data    <-- reply ----------------     Outcome::{Admitted, Refused}
//!   Membership
//! ```
//!
//! A founder makes itself a member ([`Membership::found`]). Who may admit is an [`Issuer`]: the founder's agent, or an admin,
//! whose certificates stand on its own and never give more rights than it has itself; admins are made by the founder only.
//!
//! Policies. A use is counted for an identity, not for a request: one that asks again, because the reply was lost, gets the
//! same certificate again, even if the ticket has been used up in the meantime, but not once it was revoked. A ticket that is
//! used up, expired or revoked keeps its mailbox for a while, so that whoever comes too late hears why.
//!
//! Specification: PROTOCOL.md sections 5.1, 7.1 (ticket record) and 8.

mod invites;
mod joining;
mod membership;
mod record;
#[cfg(test)]
mod tests;

pub(super) use invites::Rate;
pub use invites::{
    ADMITTED_LIMIT, CLOSED_KEPT, INVITES_LIMIT, Ignored, InviteError, InviteTerms, Invites, Newcomer, Outcome,
    REQUESTS_PER_SECOND, Registration,
};
pub use joining::{Applicant, BUSY_PAUSE, Joining, RETRY_INTERVAL};
pub use membership::{CERTIFICATE_LIFE, Issuer, Membership};
pub use record::TicketRecord;
