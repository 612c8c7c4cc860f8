//! What a joiner was given: a code or a ticket, told apart by how they begin.

use std::str::FromStr;

use super::{
    code::{Code, CodeError},
    ticket::{PREFIX, Ticket, TicketError},
};

/// A code or a ticket.
#[derive(Debug, Clone)]
pub enum Invited {
    ByCode(Code),
    ByTicket(Ticket),
}

/// Why a text is no invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitedError {
    /// It begins as a code does, and isn't one.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// It begins as a ticket does, and isn't one.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// It begins as neither does.
    #[error("this is neither a code (7-lantern-paprika-walrus) nor a ticket ({PREFIX}…)")]
    Neither,
}

impl FromStr for Invited {
    type Err = InvitedError;

    /// Reads either. A code begins with its number, a ticket with [`PREFIX`]; white space counts for nothing there.
    fn from_str(text: &str) -> Result<Self, InvitedError> {
        if text.trim_start().starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(Self::ByCode(text.parse()?));
        }
        match text.parse() {
            Ok(ticket) => Ok(Self::ByTicket(ticket)),
            Err(TicketError::NotATicket) => Err(InvitedError::Neither),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> InvitedError {
        text.parse::<Invited>().expect_err("it is no invite")
    }

    #[test]
    fn what_begins_as_neither_is_called_neither() {
        for text in [
            "",
            "hello",
            "lantern-paprika-walrus",
            "\u{ff17}-lantern-paprika-walrus",
            "\u{b2}-lantern-paprika-walrus",
            "a2al_aaaa",
        ] {
            assert_eq!(error(text), InvitedError::Neither, "{text}");
        }
        assert_eq!(InvitedError::Neither.to_string(), "this is neither a code (7-lantern-paprika-walrus) nor a ticket (a2alt_…)");
    }

    #[test]
    fn what_begins_as_one_is_called_by_its_name() {
        assert_eq!(error("7-lantern"), InvitedError::Code(CodeError::NotACode));
        assert_eq!(error(" 7 lantern\u{2013}paprika"), InvitedError::Code(CodeError::NotACode));
        assert_eq!(error(" a2a lt_aaaa"), InvitedError::Ticket(TicketError::Damaged));
    }

    #[test]
    fn a_code_is_read_as_a_code() {
        assert!(matches!("\n 7-lantern-paprika-walrus".parse(), Ok(Invited::ByCode(code)) if code.slot() == 7));
    }
}
