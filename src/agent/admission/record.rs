//! Ticket records: how an uncounted ticket is passed to other admins, so that each of them can admit its holders.

use bytes::Bytes;

use crate::crypto::certificate::Rights;
use crate::crypto::{self, Ticket};
use crate::proto::codec::{Reader, Writer};

/// Largest ticket in a record, in bytes. Chosen; eight addresses of 255 bytes fit in.
const TICKET_LIMIT: usize = 4096;

/// An uncounted ticket and what it gives: the body of a message of kind ticket record. It holds the ticket's secret.
#[derive(Clone, Debug)]
pub struct TicketRecord {
    pub ticket: Ticket,
    /// What those who use the ticket may do.
    pub rights: Rights,
}

impl TicketRecord {
    /// Encodes the record. Secret.
    ///
    /// # Errors
    /// [`crypto::Error::Certificate`] for rights that no certificate could hold, by the caller's fault.
    pub fn encode(&self) -> Result<Bytes, crypto::Error> {
        let mut writer = Writer::new();
        writer.u64(self.ticket.expiry).bytes16(&self.ticket.to_bytes()).u8(self.rights.bits());
        self.rights.write_skills(&mut writer)?;
        Ok(writer.into_vec().into())
    }

    /// Reads a record. If it names an earlier expiry than the ticket, that counts.
    ///
    /// # Errors
    /// [`crypto::Error::Proto`] or [`crypto::Error::Ticket`], by the peer's fault.
    pub fn decode(body: &[u8]) -> Result<Self, crypto::Error> {
        let mut reader = Reader::new(body);
        let expiry = reader.u64()?;
        let mut ticket = Ticket::from_bytes(reader.bytes16("ticket", TICKET_LIMIT)?)?;
        ticket.expiry = ticket.expiry.min(expiry);
        let bits = reader.u8()?;
        let rights = Rights::read(bits, &mut reader)?;
        reader.finish("ticket record")?;
        Ok(Self { ticket, rights })
    }
}
