//! Opener and answer: how two runs of agents come to a session in one round trip (PROTOCOL.md section 6.2).
//!
//! ```text
//! initiator                                       responder
//!   Initiation::start      -- opener -->            envelope::open, Opening::from_envelope, (checks the card)
//!     .seal_early          -- early frames -->      Opening::answer, which gives the Session
//!     .receive_answer      <-- answer --
//!     (checks the card)    <-- frames -->           Session::seal, Session::open
//!     .establish, which gives the Session
//! ```
//!
//! The opener is sealed to the responder's prekey and carries an ephemeral key, to which the answer is sealed. The session's keys come from
//! both secrets and from everything that both sides believe: whoever believes otherwise gets other keys. When the ephemeral key is gone, nobody
//! can find the session's keys again, with all long-term keys in hand.
//!
//! Cards are opaque here: the agent checks them between the steps, and hands over the certificate chains that it found in them.

use super::{
    CertificateChain, Error, FrameBuilder, Identity, KeyPair, PublicKey, Random, Session,
    certificate::CertificateError,
    early::{EarlySecret, EarlySender},
    envelope::{self, Correspondents, OpenedEnvelope, PayloadKind, frame_hash},
    hpke::{Receiver, Sender},
    identity,
    kdf::Secret,
    padding,
    seal::{Route, key_header},
    session::{Agreement, Direction, Transcript},
    xwing::PUBLIC_KEY_LEN,
};
use crate::proto::{
    self, AgentId, DataFrame, FounderId, Label, Lane, OuterKind, RunId, SessionId,
    codec::{Reader, Writer},
    signature::SIGNATURE_LENGTH,
};

/// Largest card, in bytes (PROTOCOL.md section 5.2).
pub const MAX_CARD: usize = 4_096;
/// Bytes of the first grant: four lanes, three classes, two `u32` each.
pub const GRANTS_LEN: usize = 96;

const PURPOSE: &str = "answer";
const INFO: &[u8] = b"a2alinker/1 answer";
const EXPORT: &str = "a2alinker/1 answer export";

/// What each side tells the other in opener and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHello {
    /// The sender's clock, in Unix milliseconds.
    pub wall: u64,
    pub roster_digest: [u8; 32],
    /// The first grant of credit, as it is on the wire.
    pub grants: [u8; GRANTS_LEN],
    /// The sender's card, at most 4,096 bytes.
    pub card: Vec<u8>,
}

impl SessionHello {
    fn write(&self, writer: &mut Writer) -> Result<(), Error> {
        if self.card.len() > MAX_CARD {
            return Err(Error::TooLarge { what: "card", limit: MAX_CARD, got: self.card.len() });
        }
        writer.u64(self.wall).raw(&self.roster_digest).raw(&self.grants).bytes16(&self.card).extensions();
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, proto::Error> {
        let hello = Self {
            wall: reader.u64()?,
            roster_digest: reader.array()?,
            grants: reader.array()?,
            card: reader.bytes16("card", MAX_CARD)?.to_vec(),
        };
        reader.extensions()?;
        Ok(hello)
    }
}

/// What an initiator knows when it opens a session.
pub struct InitiatorParams<'a> {
    pub founder: FounderId,
    pub identity: &'a Identity,
    pub run: RunId,
    /// The initiator's own chain.
    pub chain: &'a CertificateChain,
    pub peer: AgentId,
    /// The run of the peer that its card names, or zero.
    pub peer_run: RunId,
    /// The prekey that the peer's card names.
    pub prekey: &'a PublicKey,
    /// The peer's label.
    pub destination: Label,
    /// Random, of the initiator's choice.
    pub session: SessionId,
    /// Of the opener, in Unix milliseconds.
    pub expiry: u64,
}

/// A session that was opened and isn't answered yet.
pub struct Initiation {
    founder: FounderId,
    initiator: AgentId,
    run: RunId,
    chain_hash: [u8; 32],
    peer: AgentId,
    route: Route,
    ephemeral: KeyPair,
    opener_hash: [u8; 32],
    opener_export: Secret,
    early: EarlySender,
}

impl Initiation {
    /// Opens a session: returns its state and the opener to send.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a card beyond the limit, [`Error::Certificate`] if the chain isn't the initiator's.
    pub fn start(params: InitiatorParams<'_>, hello: &SessionHello, random: &mut Random) -> Result<(Self, DataFrame), Error> {
        check_holder(params.chain, params.identity.id())?;
        let ephemeral = KeyPair::generate(random);
        let mut payload = Writer::with_capacity(PUBLIC_KEY_LEN + hello.card.len() + 256);
        payload.raw(params.run.as_bytes()).raw(ephemeral.public().as_bytes());
        hello.write(&mut payload)?;
        let header = key_header(OuterKind::Opener, params.destination, params.session, params.expiry);
        let correspondents = Correspondents {
            sender: params.identity,
            receiver: params.peer,
            receiver_run: params.peer_run,
            prekey: params.prekey,
        };
        let (opener, opener_export) = envelope::seal(&correspondents, header, PayloadKind::Opener, payload.as_slice(), random)?;
        let initiation = Self {
            founder: params.founder,
            initiator: params.identity.id(),
            run: params.run,
            chain_hash: params.chain.hash(),
            peer: params.peer,
            route: Route { session: params.session, destination: params.destination },
            ephemeral,
            opener_hash: frame_hash(&opener),
            early: EarlySender::new(EarlySecret::new(&opener_export)),
            opener_export,
        };
        Ok((initiation, opener))
    }

    /// Returns the session's id.
    pub fn id(&self) -> SessionId {
        self.route.session
    }

    /// Returns whom the session was opened to.
    pub fn peer(&self) -> AgentId {
        self.peer
    }

    /// Seals a frame that doesn't wait for the answer. It is not forward secret: whoever gets the peer's prekey can read it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the content is longer than the lane takes, [`Error::Exhausted`] after 65,536 frames.
    pub fn seal_early(&mut self, lane: Lane, expiry: u64, frame: FrameBuilder) -> Result<DataFrame, Error> {
        self.early.seal(self.route, lane, expiry, frame)
    }

    /// Opens an answer and checks that the peer gave it to this opener. On an error the initiation goes on waiting.
    ///
    /// # Errors
    /// [`Error::Open`] if it isn't authentic; [`Error::Padding`] or [`Error::Proto`] if what was sealed is malformed.
    pub fn receive_answer(&self, frame: &DataFrame) -> Result<Answered, Error> {
        let header = frame.header();
        let fits = header.kind == OuterKind::Answer && header.generation == 0 && header.counter == 0;
        if !fits || header.session != self.route.session {
            return Err(Error::Open);
        }
        let mut context = Receiver::setup(&self.ephemeral, None, INFO, frame.sealed())?;
        let padded = context.open(frame.header_bytes())?;
        let content = padding::unpad(&padded)?;
        let (body, signature) = content.split_last_chunk::<SIGNATURE_LENGTH>().ok_or(Error::Open)?;
        let signed = signed_answer(&self.opener_hash, context.enc(), frame.header_bytes(), body);
        identity::verify(self.peer.as_bytes(), PURPOSE, &signed, signature)?;
        let mut reader = Reader::new(body);
        let run = RunId::from_bytes(reader.array()?);
        let hello = SessionHello::read(&mut reader)?;
        reader.finish("answer")?;
        Ok(Answered { run, hello, answer_hash: frame_hash(frame), answer_export: context.export(EXPORT) })
    }

    /// Makes the session, once the card in the answer has been checked. `peer_chain` is the chain in that card.
    ///
    /// # Errors
    /// [`Error::Certificate`] if the chain isn't the peer's.
    pub fn establish(self, answered: Answered, peer_chain: &CertificateChain) -> Result<Session, Error> {
        check_holder(peer_chain, self.peer)?;
        let transcript = Transcript {
            founder: self.founder,
            initiator: self.initiator,
            responder: self.peer,
            initiator_run: self.run,
            responder_run: answered.run,
            initiator_chain: self.chain_hash,
            responder_chain: peer_chain.hash(),
            opener: self.opener_hash,
            answer: answered.answer_hash,
        };
        Ok(Session::agree(Agreement {
            route: self.route,
            sends: Direction::FromInitiator,
            transcript,
            opener_export: &self.opener_export,
            answer_export: &answered.answer_export,
            early: None,
        }))
    }
}

/// An authentic answer whose card hasn't been checked yet.
pub struct Answered {
    run: RunId,
    hello: SessionHello,
    answer_hash: [u8; 32],
    answer_export: Secret,
}

impl Answered {
    /// Returns what the responder tells.
    pub fn hello(&self) -> &SessionHello {
        &self.hello
    }

    /// Returns the responder's run.
    pub fn run(&self) -> RunId {
        self.run
    }
}

/// What a responder knows when it answers.
pub struct ResponderParams<'a> {
    pub founder: FounderId,
    pub identity: &'a Identity,
    pub run: RunId,
    /// The responder's own chain.
    pub chain: &'a CertificateChain,
    /// The initiator's label.
    pub destination: Label,
    /// Of the answer, in Unix milliseconds.
    pub expiry: u64,
}

/// An authentic opener whose card hasn't been checked yet.
pub struct Opening {
    sender: AgentId,
    receiver_run: RunId,
    run: RunId,
    ephemeral: PublicKey,
    hello: SessionHello,
    session: SessionId,
    opener_hash: [u8; 32],
    opener_export: Secret,
}

impl Opening {
    /// Reads the opener in an envelope.
    ///
    /// # Errors
    /// [`Error::Proto`] if there is none, or it is malformed; [`Error::PublicKey`] for an impossible ephemeral key.
    pub fn from_envelope(envelope: OpenedEnvelope) -> Result<Self, Error> {
        if envelope.kind != PayloadKind::Opener {
            return Err(Error::Proto(proto::Error::Malformed { what: "payload kind" }));
        }
        let mut reader = Reader::new(&envelope.payload);
        let run = RunId::from_bytes(reader.array()?);
        let ephemeral = PublicKey::from_bytes(reader.take(PUBLIC_KEY_LEN)?)?;
        let hello = SessionHello::read(&mut reader)?;
        reader.finish("opener")?;
        Ok(Self {
            sender: envelope.sender,
            receiver_run: envelope.receiver_run,
            run,
            ephemeral,
            hello,
            session: envelope.header.session,
            opener_hash: envelope.hash,
            opener_export: envelope.export,
        })
    }

    /// Returns the session's id.
    pub fn id(&self) -> SessionId {
        self.session
    }

    /// Returns the initiator.
    pub fn sender(&self) -> AgentId {
        self.sender
    }

    /// Returns the initiator's run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Returns the run of the responder that the initiator knew of, or zero.
    pub fn receiver_run(&self) -> RunId {
        self.receiver_run
    }

    /// Returns what the initiator tells.
    pub fn hello(&self) -> &SessionHello {
        &self.hello
    }

    /// Makes the session and the answer to send, once the card in the opener has been checked. `peer_chain` is the chain in that card.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a card beyond the limit, [`Error::Certificate`] if a chain isn't its agent's.
    pub fn answer(
        self,
        params: ResponderParams<'_>,
        peer_chain: &CertificateChain,
        hello: &SessionHello,
        random: &mut Random,
    ) -> Result<(Session, DataFrame), Error> {
        check_holder(params.chain, params.identity.id())?;
        check_holder(peer_chain, self.sender)?;
        let header = key_header(OuterKind::Answer, params.destination, self.session, params.expiry);
        let header_bytes = header.encode();
        let mut body = Writer::with_capacity(hello.card.len() + 256);
        body.raw(params.run.as_bytes());
        hello.write(&mut body)?;
        let context = Sender::setup(&self.ephemeral, None, INFO, random)?;
        let signed = signed_answer(&self.opener_hash, context.enc(), &header_bytes, body.as_slice());
        body.raw(&params.identity.sign(PURPOSE, &signed));
        let answer_export = context.export(EXPORT);
        let answer = DataFrame::new(header, &context.seal(&header_bytes, body.as_slice())?);
        let transcript = Transcript {
            founder: params.founder,
            initiator: self.sender,
            responder: params.identity.id(),
            initiator_run: self.run,
            responder_run: params.run,
            initiator_chain: peer_chain.hash(),
            responder_chain: params.chain.hash(),
            opener: self.opener_hash,
            answer: frame_hash(&answer),
        };
        let session = Session::agree(Agreement {
            route: Route { session: self.session, destination: params.destination },
            sends: Direction::ToInitiator,
            transcript,
            opener_export: &self.opener_export,
            answer_export: &answer_export,
            early: Some(EarlySecret::new(&self.opener_export)),
        });
        Ok((session, answer))
    }
}

fn signed_answer(opener_hash: &[u8; 32], enc: &[u8], header: &[u8], body: &[u8]) -> Vec<u8> {
    [opener_hash, enc, header, body].concat()
}

fn check_holder(chain: &CertificateChain, holder: AgentId) -> Result<(), CertificateError> {
    if chain.leaf().identity != holder {
        return Err(CertificateError::Mismatch { what: "identity" });
    }
    Ok(())
}
