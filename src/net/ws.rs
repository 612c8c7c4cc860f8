//! One established link: binary frames over WebSocket, over TLS or plain, the same for client and switchboard.
//!
//! A [`Connection`] is polled, never awaited, so that one task reads and writes without locking and any thread may flush
//! with the task's waker. Pings are answered below this interface; what the driver sees is frames and silence. An idle
//! connection holds no buffer.

mod framing;
mod pace;
#[cfg(test)]
mod tests;
mod transport;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
#[cfg(feature = "server")]
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsStream, rustls};
use tokio_tungstenite::WebSocketStream;
#[cfg(feature = "client")]
use tokio_tungstenite::tungstenite::error::Error as WsError;
#[cfg(feature = "server")]
use tokio_tungstenite::tungstenite::handshake::server as handshake;
use tokio_tungstenite::tungstenite::http;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

#[cfg(feature = "client")]
use super::address::Address;
#[cfg(feature = "client")]
use super::dial::{Outbound, dial};
#[cfg(feature = "client")]
use super::proxy::ProxyProblem;
#[cfg(feature = "client")]
use super::tls::{Acceptance, Certificate, Trust};
use super::{Error, os, tls};
use crate::proto::Binding;
use framing::{Decoder, Encoder, Received, Side};
use pace::Pace;
use transport::Handshaking;
pub(super) use transport::Transport;

/// Name and version of the protocol in the WebSocket handshake.
pub const SUBPROTOCOL: &str = "a2alinker.1";

/// Time for TCP, TLS and WebSocket together until a link is up, on either side. Chosen: several round trips on the worst
/// usable network.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An established link.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    incoming: Decoder,
    outgoing: Encoder,
    /// The last ping that wants an answer. RFC 6455 section 5.5.3 lets the answers to earlier ones fall away, so that who
    /// pings without reading gathers nothing here.
    ping: Option<Bytes>,
    /// Whether anything arrived since the driver last asked.
    heard: bool,
    /// Whether a pong arrived since the driver last asked.
    pong: bool,
    /// Whether bytes wait above the kernel.
    unflushed: bool,
    pace: Pace,
    close_sent: bool,
    close_received: bool,
    /// Which certificate the switchboard showed; none without TLS, and at the switchboard's end.
    #[cfg(feature = "client")]
    certificate: Option<Certificate>,
}

impl Connection {
    fn new(socket: WebSocketStream<Handshaking>, side: Side) -> Self {
        let (transport, begun) = socket.into_inner().finish();
        Self {
            transport,
            incoming: Decoder::new(side, begun),
            outgoing: Encoder::new(side),
            ping: None,
            heard: true,
            pong: false,
            unflushed: false,
            pace: Pace::default(),
            close_sent: false,
            close_received: false,
            #[cfg(feature = "client")]
            certificate: None,
        }
    }

    /// Reads the next frame; `Ready(None)` when the other side closed the link in good order.
    ///
    /// # Errors
    /// [`Error::Transport`] for a text message, a message above the limit or broken WebSocket; [`Error::Lost`] when the
    /// socket failed. The connection is of no use after an error.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            if self.close_received {
                // The answer is a courtesy; who has closed may be gone.
                let _answered = ready!(self.poll_close(cx));
                return Poll::Ready(None);
            }
            match self.incoming.next() {
                Ok(Some(Received::Binary(frame))) => return Poll::Ready(Some(Ok(frame))),
                Ok(Some(Received::Ping(payload))) => self.ping = Some(payload),
                Ok(Some(Received::Pong)) => self.pong = true,
                Ok(Some(Received::Close)) => self.close_received = true,
                Ok(None) => match self.poll_fill(cx) {
                    Poll::Ready(Ok(())) => self.heard = true,
                    Poll::Ready(Err(source)) => return Poll::Ready(Some(Err(Error::Lost { source }))),
                    Poll::Pending => {
                        self.incoming.rest();
                        return match self.answer_ping(cx) {
                            Ok(()) => Poll::Pending,
                            Err(error) => Poll::Ready(Some(Err(error))),
                        };
                    }
                },
                Err(rule) => return Poll::Ready(Some(Err(Error::Transport { reason: rule.to_owned() }))),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = self.incoming.room();
        let read = pin!(self.transport.read_buf(&mut room));
        match ready!(read.poll(cx))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn answer_ping(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match self.ping {
            Some(_) => match self.poll_flush(cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Hands a frame over for writing. It leaves with the next [`poll_flush`](Self::poll_flush).
    ///
    /// # Errors
    /// [`Error::Lost`] after either side has closed the link.
    pub fn write(&mut self, frame: Bytes) -> Result<(), Error> {
        if self.close_sent || self.close_received {
            return Err(Error::Lost { source: io::ErrorKind::NotConnected.into() });
        }
        self.outgoing.binary(frame);
        self.unflushed = true;
        Ok(())
    }

    /// Asks the other side for a sign of life, with the next [`poll_flush`](Self::poll_flush).
    pub fn ping(&mut self) {
        self.outgoing.ping();
        self.unflushed = true;
    }

    /// Writes out what was handed over. While it is pending more should not be handed over: nothing bounds the buffer
    /// except the caller.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(payload) = self.ping.take()
            && !self.close_sent
        {
            self.outgoing.pong(payload);
            self.unflushed = true;
        }
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let Poll::Ready(flushed) = self.poll_write_out(cx) else {
            self.pace.handle_blocked(Instant::now());
            return Poll::Pending;
        };
        self.unflushed = false;
        if self.pace.handle_taken(Instant::now) {
            os::bound_unsent(self.tcp(), self.pace.unsent());
        }
        Poll::Ready(flushed.map_err(|source| Error::Lost { source }))
    }

    /// Bytes that should be handed over at once.
    pub fn batch(&self) -> usize {
        self.pace.batch()
    }

    fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut transport = Pin::new(&mut self.transport);
            let written = self.outgoing.write_with(|slices| match transport.as_mut().poll_write_vectored(cx, slices) {
                Poll::Ready(written) => written.map_err(Some),
                Poll::Pending => Err(None),
            });
            match written {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(Some(error)) => return Poll::Ready(Err(error)),
                Err(None) => return Poll::Pending,
            }
        }
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    /// Closes the link: what was handed over is written, then WebSocket and TLS say that this is the end. What the other
    /// side still sends can be read.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.close_sent {
            self.close_sent = true;
            self.ping = None;
            self.outgoing.close();
            self.unflushed = true;
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx).map_err(|source| Error::Lost { source })
    }

    /// Reports whether bytes wait that the kernel didn't take yet.
    pub fn is_blocked(&self) -> bool {
        self.unflushed
    }

    /// Reports whether anything arrived since it was last called.
    pub fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Reports whether a pong arrived since it was last called.
    pub fn take_pong(&mut self) -> bool {
        std::mem::take(&mut self.pong)
    }

    /// Which certificate the switchboard showed; none without TLS.
    #[cfg(feature = "client")]
    pub fn certificate(&self) -> Option<Certificate> {
        self.certificate
    }

    /// The other end of the TCP connection: the switchboard, or a proxy on the way there.
    #[cfg(feature = "client")]
    pub fn remote(&self) -> Option<std::net::SocketAddr> {
        self.tcp().peer_addr().ok()
    }

    /// What ties a proof to this connection: the exporter value of TLS, or nothing on a plain link.
    pub fn binding(&self) -> Binding {
        let exported = match &self.transport {
            Transport::Plain(_) => return Binding::None,
            Transport::Tls(stream) => match &**stream {
                TlsStream::Client(stream) => tls::exporter(stream.get_ref().1),
                TlsStream::Server(stream) => tls::exporter(stream.get_ref().1),
            },
        };
        // After the handshake, rustls refuses only values longer than ours.
        exported.map_or(Binding::None, Binding::Exporter)
    }
}

/// Links to a switchboard.
///
/// # Errors
/// Every variant of [`Error`] that names an address; each says what to do. Gives up after [`CONNECT_LIMIT`].
#[cfg(feature = "client")]
pub async fn connect(address: &Address, outbound: &Outbound, acceptance: Acceptance) -> Result<Connection, Error> {
    let attempt = tokio::time::timeout(CONNECT_LIMIT, connect_unbounded(address, outbound, acceptance));
    attempt.await.unwrap_or_else(|_| {
        Err(match outbound.proxies.for_address(address)? {
            Some(proxy) => Error::Proxy { proxy: proxy.to_string(), problem: ProxyProblem::TimedOut(CONNECT_LIMIT) },
            None => Error::TimedOut { address: address.without_pin(), limit: CONNECT_LIMIT },
        })
    })
}

#[cfg(feature = "client")]
async fn connect_unbounded(address: &Address, outbound: &Outbound, acceptance: Acceptance) -> Result<Connection, Error> {
    let stream = dial(address, &outbound.proxies).await?;
    let (transport, certificate) = encrypt(stream, address, &outbound.trust, acceptance).await?;
    Ok(Connection { certificate, ..upgrade(transport, address).await? })
}

/// Opens TLS on `stream`, if the address wants it.
#[cfg(feature = "client")]
pub(super) async fn encrypt(
    stream: TcpStream,
    address: &Address,
    trust: &Trust,
    acceptance: Acceptance,
) -> Result<(Transport, Option<Certificate>), Error> {
    if !address.secure {
        return Ok((Transport::Plain(stream), None));
    }
    let (config, verifier) = tls::client_config(address, trust, acceptance)?;
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(tls::server_name(address)?, stream)
        .await
        .map_err(|error| tls::connect_error(address, error))?;
    Ok((Transport::Tls(Box::new(stream.into())), verifier.seen()))
}

/// Asks for WebSocket and our subprotocol.
#[cfg(feature = "client")]
pub(super) async fn upgrade(transport: Transport, address: &Address) -> Result<Connection, Error> {
    let shown = address.without_pin();
    let not_a_switchboard = |error: WsError| match error {
        WsError::Io(source) => Error::Unreachable { address: shown.clone(), source },
        other => Error::NotASwitchboard { address: shown.clone(), reason: other.to_string() },
    };
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(address.without_pin())
        .map_err(not_a_switchboard)?;
    request.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(SUBPROTOCOL));
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, Handshaking::new(transport), Some(handshake_config()))
        .await
        .map_err(not_a_switchboard)?;
    Ok(Connection::new(socket, Side::Client))
}

/// Takes the switchboard's side of the handshakes on an accepted socket. The caller bounds the time.
#[cfg(feature = "server")]
pub(super) async fn accept(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Connection, Error> {
    os::prepare(&stream).map_err(|source| Error::Lost { source })?;
    let transport = match tls {
        Some(config) => {
            let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.map_err(|source| Error::Lost { source })?;
            Transport::Tls(Box::new(stream.into()))
        }
        None => Transport::Plain(stream),
    };
    let handshaking = Handshaking::new(transport);
    let socket = tokio_tungstenite::accept_hdr_async_with_config(handshaking, choose_subprotocol, Some(handshake_config()))
        .await
        .map_err(|error| Error::Transport { reason: error.to_string() })?;
    Ok(Connection::new(socket, Side::Switchboard))
}

/// Refuses whoever doesn't speak this protocol, with a sentence for a person who looks with a browser.
#[cfg(feature = "server")]
#[allow(clippy::result_large_err)] // the shape is tungstenite's
fn choose_subprotocol(
    request: &handshake::Request,
    mut response: handshake::Response,
) -> Result<handshake::Response, handshake::ErrorResponse> {
    let offered = request.headers().get_all(http::header::SEC_WEBSOCKET_PROTOCOL);
    let mut names = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !names.any(|name| name.trim() == SUBPROTOCOL) {
        let mut refusal = handshake::ErrorResponse::new(Some("This is an a2alinker switchboard.\n".to_owned()));
        *refusal.status_mut() = http::StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    response.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// No buffers: of tungstenite only the HTTP handshake is used.
fn handshake_config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0)
}
