//! The class `Agent`: a handle to one state machine and the task that drives it.
//!
//! Each method converts its arguments, takes the state machine's lock for a moment and returns. Should the lock be taken (the driver is
//! opening frames), the thread lets go of the interpreter while it waits. What a command makes the agent want is done by the next `flush`;
//! sending and answering leave that to the caller, so that many messages cost one; rarer commands flush by themselves.

#![allow(clippy::too_many_arguments, reason = "the signatures are those of Python, where arguments have names")]

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use super::arguments::{
    Skill, addresses, config, content, encode_headers, fixed, lane_of, message_id, offer_of, peer_id, seconds, seed, thread_id,
};
use super::bodies::Bodies;
use super::errors::Error;
use super::events::{Desk, Queue};
use super::identity::IdentityFile;
use super::peer::PeerInfo;
use super::receipt::Receipt;
use super::tuples::{Tuples, Unreadable};
use super::{body, runtime};
use crate::agent::{
    self, AgentFile, CallRequest, Config, Content, ContentType, InviteTerms, Outgoing, Refusal, RefusalCode, SendError, Token,
};
use crate::crypto::{Invited, Random, Rights};
use crate::net::address::Address;
use crate::net::client::{self, Client, Clock};
use crate::net::dial::Outbound;
use crate::net::proxy::Proxies;
use crate::net::tls::Trust;
use crate::proto::{AgentId, Now};

/// Events in a batch unless the caller says otherwise. Chosen: about a millisecond of building tuples.
const DRAIN_LIMIT: usize = 1024;

/// How long the definition of a skill is waited for. Chosen: a peer that is linked answers within a round trip.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a code can't say.
const CODE_NEEDS_ADDRESS: &str = "a code doesn't say where the switchboard is: give join() its address, as in \
                                  switchboard='wss://relay.example:7447', or set A2ALINKER_SWITCHBOARD";

type Core = client::Core<Desk>;

/// One agent: a handle to its state machine and to the task that drives it. Usable from any thread.
#[pyclass(frozen, module = "a2alinker._core")]
pub(super) struct Agent {
    client: Arc<Client<Desk>>,
    queue: Arc<Queue>,
    id: AgentId,
    name: String,
    swarm: String,
}

#[pymethods]
impl Agent {
    #[staticmethod]
    #[pyo3(signature = (name, *, switchboards, identity = None, embedded = false, skills = vec![], ca_file = None, peer_gone_after = 10.0, outbox_bytes = None, outbox_messages = None, depth_max = None))]
    fn host(
        py: Python<'_>,
        name: &str,
        switchboards: Vec<String>,
        identity: Option<&IdentityFile>,
        embedded: bool,
        skills: Vec<Skill>,
        ca_file: Option<PathBuf>,
        peer_gone_after: f64,
        outbox_bytes: Option<usize>,
        outbox_messages: Option<usize>,
        depth_max: Option<u16>,
    ) -> PyResult<Self> {
        runtime::check()?;
        let mut config = config(name, skills, peer_gone_after, outbox_bytes, outbox_messages, depth_max)?;
        let addresses = addresses(&switchboards)?;
        // The address of a switchboard that ends with this process is of no use to the next one.
        config.switchboards = if embedded { Vec::new() } else { switchboards };
        Self::start(py, addresses, ca_file, identity, move |file, random, now| match file {
            Some((path, file)) => agent::Agent::resume(config, file, random, now).map_err(|error| Error::Resume { path, error }),
            None => agent::Agent::host(config, seed()?, random, now).map_err(Error::from),
        })
    }

    #[staticmethod]
    #[pyo3(signature = (name, *, invite, switchboards, identity = None, skills = vec![], ca_file = None, peer_gone_after = 10.0, outbox_bytes = None, outbox_messages = None, depth_max = None))]
    fn join(
        py: Python<'_>,
        name: &str,
        invite: Option<&str>,
        switchboards: Vec<String>,
        identity: Option<&IdentityFile>,
        skills: Vec<Skill>,
        ca_file: Option<PathBuf>,
        peer_gone_after: f64,
        outbox_bytes: Option<usize>,
        outbox_messages: Option<usize>,
        depth_max: Option<u16>,
    ) -> PyResult<Self> {
        runtime::check()?;
        let mut config = config(name, skills, peer_gone_after, outbox_bytes, outbox_messages, depth_max)?;
        let invite = invite.map(str::parse).transpose().map_err(Error::Invited)?;
        if matches!(invite, Some(Invited::ByCode(_))) && switchboards.is_empty() {
            return Err(Error::Argument(CODE_NEEDS_ADDRESS.to_owned()).into());
        }
        let addresses = addresses(&switchboards)?;
        config.switchboards = switchboards;
        Self::start(py, addresses, ca_file, identity, move |file, random, now| match (file, invite) {
            (Some((path, file)), invite) => {
                let refuse = |error| Error::Resume { path, error };
                if let Some(Invited::ByTicket(ticket)) = &invite
                    && let Err(error) = file.check_ticket(ticket)
                {
                    return Err(refuse(error));
                }
                match invite.filter(|_| file.needs_invite(now)) {
                    Some(invite) => {
                        config.keys = Some(file.keys().clone());
                        invite.use_for(config, random, now)
                    }
                    None => agent::Agent::resume(config, file, random, now).map_err(refuse),
                }
            }
            (None, Some(invite)) => invite.use_for(config, random, now),
            (None, None) => Err(Error::Argument("there is neither an invite nor an agent file to join with".to_owned())),
        })
    }

    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.id.as_bytes())
    }

    #[getter]
    fn text_id(&self) -> String {
        self.id.to_string()
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn swarm(&self) -> &str {
        &self.swarm
    }

    #[getter]
    fn wake_fd(&self) -> i32 {
        self.queue.descriptor()
    }

    /// Its large bodies.
    #[getter]
    fn bodies(&self) -> Bodies {
        Bodies::new(&self.client)
    }

    /// Has `callback` called on a thread of its own each time that the first event is queued.
    fn set_waker(&self, callback: Py<PyAny>) -> PyResult<()> {
        runtime::check()?;
        let queue = Arc::clone(&self.queue);
        let wake = move || {
            let mut rings = 0;
            while let Some(heard) = queue.wait_for_ring(rings) {
                rings = heard;
                // A callback that fails has nobody to tell; an interpreter that ends takes no more calls.
                let called =
                    Python::try_attach(|py| callback.call0(py).map_err(|error| error.write_unraisable(py, None)).is_ok());
                if called.is_none() {
                    return mem::forget(callback);
                }
            }
        };
        std::thread::Builder::new().name("a2alinker-waker".to_owned()).spawn(wake)?;
        Ok(())
    }

    /// Takes the events that wait, up to `limit`.
    #[pyo3(signature = (limit = DRAIN_LIMIT))]
    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        runtime::check()?;
        let mut tuples = Tuples::new(py);
        let mut batch = Vec::new();
        for notice in self.queue.take(limit) {
            batch.extend(tuples.build(notice)?);
        }
        if !tuples.unreadable.is_empty() {
            self.refuse_unreadable(py, mem::take(&mut tuples.unreadable));
        }
        PyList::new(py, batch)
    }

    /// Seals and writes what waits, on this thread if the socket is idle.
    fn flush(&self) -> PyResult<()> {
        runtime::check()?;
        self.client.flush();
        Ok(())
    }

    #[pyo3(signature = (to, body, lane, thread, ttl, until_done, depth = 0, budget = None, headers = None, reply_to = None))]
    fn send(
        &self,
        to: &Bound<'_, PyBytes>,
        body: &Bound<'_, PyAny>,
        lane: u8,
        thread: Option<&[u8]>,
        ttl: f64,
        until_done: bool,
        depth: u16,
        budget: Option<u32>,
        headers: Option<&Bound<'_, PyDict>>,
        reply_to: Option<&[u8]>,
    ) -> PyResult<Receipt> {
        runtime::check()?;
        let outgoing = Outgoing {
            to: peer_id(to.as_bytes())?,
            lane: lane_of(lane)?,
            thread: thread.map(thread_id).transpose()?,
            ttl: seconds("ttl", ttl)?,
            until_done,
            depth,
            budget,
            reply_to: reply_to.map(message_id).transpose()?,
            headers: encode_headers(headers)?,
            content: content(body)?,
        };
        self.command(to.py(), move |core, now| {
            let (token, id) = core.agent.send(outgoing, now)?;
            Ok(core.application.receipts.begin(token, id, until_done))
        })
    }

    #[pyo3(signature = (to, body, lane, thread, ttl, depth = 0, budget = None, headers = None))]
    fn request(
        &self,
        to: &Bound<'_, PyBytes>,
        body: &Bound<'_, PyAny>,
        lane: u8,
        thread: Option<&[u8]>,
        ttl: f64,
        depth: u16,
        budget: Option<u32>,
        headers: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(Token, Option<Receipt>)> {
        runtime::check()?;
        let request = CallRequest {
            skill: None,
            to: Some(peer_id(to.as_bytes())?),
            among: Vec::new(),
            lane: lane_of(lane)?,
            thread: thread.map(thread_id).transpose()?,
            ttl: seconds("ttl", ttl)?,
            timeout: None,
            progress_timeout: None,
            depth,
            budget,
            headers: encode_headers(headers)?,
            content: content(body)?,
        };
        self.command(to.py(), move |core, now| {
            let call = core.agent.call(request, now)?;
            let receipt = core.application.receipts.begin_call(call, &core.agent);
            Ok((call, receipt))
        })
    }

    #[pyo3(signature = (skill, args, kwargs, to, among, lane, ttl, timeout, progress_timeout, depth = 0, budget = None))]
    fn call(
        &self,
        skill: &str,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        to: Option<&[u8]>,
        among: Option<Vec<Bound<'_, PyBytes>>>,
        lane: u8,
        ttl: f64,
        timeout: Option<f64>,
        progress_timeout: Option<f64>,
        depth: u16,
        budget: Option<u32>,
    ) -> PyResult<Token> {
        runtime::check()?;
        if among.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::Send(SendError::SkillUnknown(skill.to_owned())).into());
        }
        let among = among.unwrap_or_default().iter().map(|id| peer_id(id.as_bytes())).collect::<Result<_, _>>()?;
        let request = CallRequest {
            skill: Some(skill.to_owned()),
            to: to.map(peer_id).transpose()?,
            among,
            lane: lane_of(lane)?,
            thread: None,
            ttl: seconds("ttl", ttl)?,
            timeout: timeout.map(|timeout| seconds("timeout", timeout)).transpose()?,
            progress_timeout: progress_timeout.map(|timeout| seconds("progress_timeout", timeout)).transpose()?,
            depth,
            budget,
            headers: Bytes::new(),
            content: Content {
                content_type: ContentType::MessagePack,
                bytes: body::encode_arguments(args, kwargs).map_err(Error::from)?,
            },
        };
        let is_bound = request.to.is_some();
        self.command(args.py(), move |core, now| {
            let call = core.agent.call(request, now)?;
            if is_bound {
                core.application.receipts.begin_call(call, &core.agent);
            }
            Ok(call)
        })
    }

    fn cancel(&self, py: Python<'_>, call: Token) -> PyResult<()> {
        runtime::check()?;
        self.with(py, move |core, now| {
            core.agent.cancel(call, now);
            core.application.receipts.end_call(call);
        });
        self.client.flush();
        Ok(())
    }

    /// Returns the receipt of the request that a call has out; None when there is none, or the call is over.
    fn call_receipt(&self, py: Python<'_>, call: Token) -> PyResult<Option<Receipt>> {
        runtime::check()?;
        Ok(self.with(py, move |core, _| core.application.receipts.of_call(call)))
    }

    #[pyo3(signature = (token, body, r#final, depth = 0, budget = None))]
    fn answer(&self, token: Token, body: &Bound<'_, PyAny>, r#final: bool, depth: u16, budget: Option<u32>) -> PyResult<Receipt> {
        runtime::check()?;
        let content = content(body)?;
        self.command(body.py(), move |core, now| {
            let (receipt, id) = core.agent.answer(token, content, r#final, depth, budget, now)?;
            Ok(core.application.receipts.begin(receipt, id, false))
        })
    }

    /// Tells the sender of a message that what it caused would have been too deep.
    fn stop_loop(&self, py: Python<'_>, peer: &[u8], id: &[u8], lane: u8, thread: &[u8]) -> PyResult<()> {
        runtime::check()?;
        let (peer, id, lane, thread) = (peer_id(peer)?, message_id(id)?, lane_of(lane)?, thread_id(thread)?);
        self.with(py, move |core, now| core.agent.stop_loop(peer, id, lane, thread, now));
        self.client.flush();
        Ok(())
    }

    #[pyo3(signature = (token, code, r#type, text, retry_after = 0.0))]
    fn refuse(&self, py: Python<'_>, token: Token, code: u8, r#type: &str, text: &str, retry_after: f64) -> PyResult<()> {
        runtime::check()?;
        let retry_after = u32::try_from(seconds("retry_after", retry_after)?.as_millis()).unwrap_or(u32::MAX);
        let mut refusal = Refusal::new(RefusalCode::from(code), text);
        refusal.retry_after_ms = retry_after;
        refusal.type_name = r#type.to_owned();
        self.command(py, move |core, now| Ok(core.agent.refuse(token, &refusal, now)?))?;
        self.client.flush();
        Ok(())
    }

    fn done(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        runtime::check()?;
        self.with(py, move |core, now| core.agent.done(token, now));
        Ok(())
    }

    fn consumed(&self, py: Python<'_>, lane: u8, messages: usize) -> PyResult<()> {
        runtime::check()?;
        let lane = lane_of(lane)?;
        self.with(py, move |core, now| core.agent.consumed(lane, messages, now));
        Ok(())
    }

    fn turned(&self, py: Python<'_>) -> PyResult<()> {
        runtime::check()?;
        self.with(py, |core, now| core.agent.turned(now));
        Ok(())
    }

    fn peers(&self, py: Python<'_>) -> PyResult<Vec<PeerInfo>> {
        runtime::check()?;
        Ok(self.with(py, |core, _| core.agent.peers()).into_iter().map(PeerInfo).collect())
    }

    fn peer(&self, py: Python<'_>, id: &[u8]) -> PyResult<Option<PeerInfo>> {
        runtime::check()?;
        let id = peer_id(id)?;
        Ok(self.with(py, |core, _| core.agent.peer(&id)).map(PeerInfo))
    }

    fn describe(&self, py: Python<'_>, peer: &[u8], hash: &[u8]) -> PyResult<Token> {
        runtime::check()?;
        let (peer, hash) = (peer_id(peer)?, fixed("hash", hash)?);
        let token = self.command(py, move |core, now| Ok(core.agent.describe(peer, hash, DESCRIBE_TIMEOUT, now)?))?;
        self.client.flush();
        Ok(token)
    }

    fn offer(&self, py: Python<'_>, skills: Vec<Skill>) -> PyResult<()> {
        runtime::check()?;
        let skills = skills.into_iter().map(offer_of).collect();
        self.command(py, move |core, now| Ok(core.agent.offer(skills, now)?))?;
        self.client.flush();
        Ok(())
    }

    /// Makes an invite. A code has its text only when its slot is open.
    fn invite(
        &self,
        py: Python<'_>,
        kind: &str,
        uses: Option<u32>,
        ttl: f64,
        rights: (Option<Vec<String>>, bool, bool, bool),
        addresses: Vec<String>,
    ) -> PyResult<(Token, Option<String>)> {
        runtime::check()?;
        let (skills, admit, terminals, originate) = rights;
        let rights = Rights { skills: skills.map(|skills| skills.into_iter().collect()), admit, terminals, originate };
        let terms = InviteTerms { uses, ttl: seconds("ttl", ttl)?, rights, addresses };
        let made = match kind {
            "code" => (self.command(py, move |core, now| Ok(core.agent.invite_by_code(terms, now)?))?, None),
            "ticket" => {
                let (token, ticket) = self.command(py, move |core, now| Ok(core.agent.invite(terms, now)?))?;
                (token, Some(ticket.to_string()))
            }
            other => return Err(Error::Argument(format!("an invite is a \"code\" or a \"ticket\", not {other:?}")).into()),
        };
        self.client.flush();
        Ok(made)
    }

    fn revoke(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        runtime::check()?;
        self.with(py, move |core, now| core.agent.revoke_invite(token, now));
        self.client.flush();
        Ok(())
    }

    fn health<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        runtime::check()?;
        let health = self.with(py, |core, _| core.agent.health());
        let dictionary = PyDict::new(py);
        dictionary.set_item("linked", health.linked)?;
        dictionary.set_item("member", health.member)?;
        dictionary.set_item("peers", health.peers)?;
        dictionary.set_item("peers_linked", health.peers_linked)?;
        dictionary.set_item("rtt", health.round_trip.map(|time| time.as_secs_f64()))?;
        dictionary.set_item("clock_skew", health.clock_skew.map(|skew| skew as f64 / 1_000.0))?;
        dictionary.set_item("reconnects", health.reconnects)?;
        dictionary.set_item("resumed", health.resumed)?;
        let queued = PyDict::new(py);
        for (name, (messages, bytes)) in ["control", "urgent", "high", "normal", "bulk"].into_iter().zip(health.queued) {
            queued.set_item(name, (messages, bytes))?;
        }
        dictionary.set_item("queued", queued)?;
        dictionary.set_item("unconfirmed", health.unconfirmed)?;
        dictionary.set_item("outbox_messages", health.outbox_messages)?;
        dictionary.set_item("outbox_bytes", health.outbox_bytes)?;
        dictionary.set_item("calls", health.calls)?;
        dictionary.set_item("requests", health.requests)?;
        dictionary.set_item("bodies_sending", health.bodies.0)?;
        dictionary.set_item("bodies_receiving", health.bodies.1)?;
        dictionary.set_item("ephemeral", health.ephemeral)?;
        dictionary.set_item("save_error", health.save_error)?;
        dictionary.set_item("certificate_expiry_ms", health.certificate_expiry)?;
        dictionary.set_item("unknown_frames", health.unknown_frames)?;
        dictionary.set_item("refused_frames", health.counters.refused_frames)?;
        dictionary.set_item("refused_messages", health.counters.refused_messages)?;
        dictionary.set_item("refused_cards", health.counters.refused_cards)?;
        dictionary.set_item("sessions", health.counters.sessions)?;
        dictionary.set_item("frames_sent", health.counters.frames_sent)?;
        dictionary.set_item("frames_received", health.counters.frames_received)?;
        dictionary.set_item("bounces", health.counters.bounces)?;
        Ok(dictionary)
    }

    /// Returns the receipts that are neither delivered nor settled otherwise.
    fn outstanding(&self, py: Python<'_>) -> PyResult<Vec<Receipt>> {
        runtime::check()?;
        Ok(self.with(py, |core, _| core.application.receipts.outstanding()))
    }

    /// Says goodbye and ends the task; the event follows when the socket is closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        runtime::check()?;
        self.with(py, |core, now| core.agent.close(now));
        self.client.flush();
        Ok(())
    }
}

impl Agent {
    fn start(
        py: Python<'_>,
        addresses: Vec<Address>,
        ca_file: Option<PathBuf>,
        identity: Option<&IdentityFile>,
        make: impl FnOnce(Option<(PathBuf, AgentFile)>, Random, Now) -> Result<agent::Agent, Error> + Send,
    ) -> PyResult<Self> {
        let runtime = runtime::handle()?;
        let identity = identity.map(|identity| (identity.path.clone(), identity.file.clone()));
        py.detach(move || {
            let agent_file = identity.as_ref().map(|(path, _)| path.clone());
            let trust = ca_file.map_or_else(|| Ok(Trust::system()), |path| Trust::from_pem_file(&path))?;
            let outbound = Outbound { trust, proxies: Proxies::from_variables(|name| std::env::var(name).ok()) };
            let clock = Clock::start();
            let agent = make(identity, Random::from_seed(seed()?), clock.now())?;
            let queue = Arc::new(Queue::new().map_err(Error::System)?);
            let bell = Arc::clone(&queue);
            let (id, name) = (agent.id(), agent.name().to_owned());
            let swarm = agent.swarm().map(|swarm| swarm.to_string()).unwrap_or_default();
            let desk = Desk::new(Arc::clone(&queue), agent_file);
            let client = Client::start(agent, desk, move || bell.announce(), clock, addresses, outbound, runtime);
            Ok(Self { client: Arc::new(client), queue, id, name, swarm })
        })
        .map_err(|error: Error| error.into())
    }

    /// Gives `command` the agent. If another thread has it, this one lets go of the interpreter while it waits: that one might need it.
    fn with<R: Send>(&self, py: Python<'_>, command: impl FnOnce(&mut Core, Now) -> R + Send) -> R {
        match self.client.try_with(command) {
            Ok(result) => result,
            Err(command) => py.detach(|| self.client.with(command)),
        }
    }

    fn command<R: Send>(&self, py: Python<'_>, command: impl FnOnce(&mut Core, Now) -> Result<R, Error> + Send) -> PyResult<R> {
        Ok(self.with(py, command)?)
    }

    /// Tells the senders of messages that can't be read; the application never sees these.
    fn refuse_unreadable(&self, py: Python<'_>, unreadable: Vec<Unreadable>) {
        self.with(py, |core, now| {
            for message in unreadable {
                match message {
                    Unreadable::Message { token, error } => core.agent.discard(token, &error.to_string(), now),
                    Unreadable::Request { token, error } => {
                        let refusal = Refusal::new(RefusalCode::Unsupported, error.to_string());
                        // One that is over already needs no refusal.
                        let _ = core.agent.refuse(token, &refusal, now);
                    }
                    Unreadable::Progress { call } => core.agent.cancel(call, now),
                }
            }
        });
        self.client.flush();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if runtime::is_alive() {
            self.queue.abandon();
        } else {
            // Locks that a thread of the parent held stay locked in its child for ever.
            mem::forget(Arc::clone(&self.client));
        }
    }
}

impl Invited {
    fn use_for(self, config: Config, random: Random, now: Now) -> Result<agent::Agent, Error> {
        match self {
            Self::ByCode(code) => agent::Agent::pair(config, &code, random, now).map_err(Error::from),
            Self::ByTicket(ticket) => agent::Agent::join(config, ticket, random, now).map_err(Error::from),
        }
    }
}
