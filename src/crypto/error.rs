use super::{certificate::CertificateError, ticket::TicketError};
use crate::proto::{self, AuthError};

/// What can go wrong in the crypto layer.
///
/// What the network sent and what failed to open or to verify is one variant, [`Error::Open`]: which check refused it is nobody's
/// business on the other side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The frame isn't authentic, isn't for this key or belongs to another session. The sender is at fault, or the relay; sealing anew
    /// may help.
    #[error("the frame could not be opened")]
    Open,
    /// The counter was seen before, or lies too far behind to know. The frame is dropped; nothing is lost.
    #[error("the frame came before")]
    Replayed,
    /// An authentic plaintext isn't padded as the protocol says. The peer is at fault.
    #[error("the padding of the plaintext is malformed")]
    Padding,
    /// An authentic plaintext doesn't have the form that the protocol gives it. The peer is at fault.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// The caller hands over more than fits.
    #[error("{what} of {got} bytes exceeds the limit of {limit}")]
    TooLarge { what: &'static str, limit: usize, got: usize },
    /// The key has sealed as many frames as it may. A new session is needed.
    #[error("the key has sealed all the frames that it may")]
    Exhausted,
    /// The cryptographic library refused to seal.
    #[error("sealing failed")]
    Seal,
    /// The bytes aren't an X-Wing public key.
    #[error("the X-Wing public key is malformed")]
    PublicKey,
    /// A certificate or its chain doesn't prove membership.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A link certificate chain doesn't prove that the link key belongs to the swarm.
    #[error(transparent)]
    Link(#[from] AuthError),
    /// A text isn't a usable ticket.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}
