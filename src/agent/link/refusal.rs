//! What a switchboard's refusal says about another try.

use crate::proto::RejectCode;

/// Whether another switchboard may take this agent: it has room, or is the one where the invite is known.
pub(super) fn may_differ_elsewhere(code: RejectCode) -> bool {
    match code {
        RejectCode::Full
        | RejectCode::Rate
        | RejectCode::ShuttingDown
        | RejectCode::TooSlow
        | RejectCode::UnknownMailbox
        | RejectCode::Version
        | RejectCode::Malformed
        | RejectCode::Unknown(_) => true,
        RejectCode::Authentication | RejectCode::CertificateExpired | RejectCode::CertificateChain | RejectCode::Binding => false,
    }
}

/// Whether trying again can't help. `was_up`: a moment ago, with these credentials. `is_renewed`: they are newer than those that were shown.
pub(super) fn is_final(code: RejectCode, was_up: bool, is_renewed: bool) -> bool {
    match code {
        RejectCode::Full | RejectCode::Rate | RejectCode::ShuttingDown | RejectCode::TooSlow => false,
        // A mailbox that was there will be there again when its issuer is: a switchboard that was started anew hears of it from them.
        RejectCode::UnknownMailbox => !was_up,
        RejectCode::CertificateExpired => !is_renewed,
        RejectCode::Version
        | RejectCode::Authentication
        | RejectCode::CertificateChain
        | RejectCode::Malformed
        | RejectCode::Binding
        | RejectCode::Unknown(_) => true,
    }
}
