//! One established link: binary frames over WebSocket, over TLS or plain, the same for client and switchboard.
//!
//! A [`Connection`] is polled, never awaited, so that one task reads and writes without locking and any thread may flush
//! with the task's waker. Pings are answered below this interface; what the driver sees is frames and silence.

use std::io;
use std::pin::Pin;
#[cfg(feature = "server")]
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsStream, rustls};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
#[cfg(feature = "server")]
use tokio_tungstenite::tungstenite::handshake::server as handshake;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, http};

#[cfg(feature = "client")]
use super::address::Address;
#[cfg(feature = "client")]
use super::tls::Trust;
use super::{Error, os, tls};
use crate::proto::{Binding, limits};

/// Name and version of the protocol in the WebSocket handshake.
pub const SUBPROTOCOL: &str = "a2alinker.1";

/// Time for TCP, TLS and WebSocket together until a link is up, on either side. Chosen: several round trips on the worst
/// usable network.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Bytes read from TLS at once, and the memory that an idle link keeps for it. Chosen: half a TLS record; larger values
/// cost every idle link and measured no faster, because a frame beyond it is read in one piece anyway.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// Bytes that are gathered before they are encrypted and written. Chosen: one frame of the largest size, so that a batch
/// of small frames leaves in one system call.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(limits::FRAME))
        .max_frame_size(Some(limits::FRAME))
}

/// The bytes below WebSocket.
#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An established link.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<Transport>,
    /// Whether anything arrived, be it only a pong, since the driver last asked.
    heard: bool,
    /// Whether bytes wait in the buffers above the kernel.
    unflushed: bool,
}

impl Connection {
    fn new(socket: WebSocketStream<Transport>) -> Self {
        Self { socket, heard: true, unflushed: false }
    }

    /// Reads the next frame; `Ready(None)` when the other side closed the link in good order.
    ///
    /// # Errors
    /// [`Error::Transport`] for a text message, a message above the limit or broken WebSocket; [`Error::Lost`] when the
    /// socket failed. The connection is of no use after an error.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let message = ready!(Pin::new(&mut self.socket).poll_next(cx));
            self.heard = true;
            return Poll::Ready(match message {
                Some(Ok(Message::Binary(frame))) => Some(Ok(frame)),
                Some(Ok(Message::Text(_))) => {
                    Some(Err(Error::Transport { reason: "a text message where frames are binary".to_owned() }))
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                // What follows a Close is the end of the stream; reading on also sends our own Close.
                Some(Ok(Message::Close(_))) => continue,
                Some(Err(error)) => Some(Err(link_error(error))),
                None => None,
            });
        }
    }

    /// Hands a frame over for writing. It leaves with the next [`poll_flush`](Self::poll_flush), or before when much has
    /// been gathered.
    pub fn write(&mut self, frame: Bytes) -> Result<(), Error> {
        self.unflushed = true;
        Pin::new(&mut self.socket).start_send(Message::Binary(frame)).map_err(link_error)
    }

    /// Asks the other side for a sign of life.
    pub fn ping(&mut self) -> Result<(), Error> {
        self.unflushed = true;
        Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).map_err(link_error)
    }

    /// Writes out what was handed over. While it is pending more should not be handed over: nothing bounds the buffer
    /// except the caller.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        self.unflushed = false;
        Poll::Ready(flushed.map_err(link_error))
    }

    /// Closes the link: what was handed over is written, then WebSocket and TLS say that this is the end.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(link_error)
    }

    /// Reports whether bytes wait that the kernel didn't take yet.
    pub fn is_blocked(&self) -> bool {
        self.unflushed
    }

    /// Reports whether anything arrived since it was last called.
    pub fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// What ties a proof to this connection: the exporter value of TLS, or nothing on a plain link.
    pub fn binding(&self) -> Binding {
        let exported = match self.socket.get_ref() {
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
pub async fn connect(address: &Address, trust: &Trust) -> Result<Connection, Error> {
    let late = Error::TimedOut { address: address.without_pin(), limit: CONNECT_LIMIT };
    tokio::time::timeout(CONNECT_LIMIT, connect_unbounded(address, trust)).await.unwrap_or(Err(late))
}

#[cfg(feature = "client")]
async fn connect_unbounded(address: &Address, trust: &Trust) -> Result<Connection, Error> {
    let shown = address.without_pin();
    let unreachable = |source| Error::Unreachable { address: shown.clone(), source };
    let candidates: Vec<_> = tokio::net::lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|source| Error::Resolve { address: shown.clone(), source })?
        .collect();
    let stream = TcpStream::connect(&candidates[..]).await.map_err(unreachable)?;
    os::prepare(&stream).map_err(unreachable)?;
    let transport = if address.secure {
        let config = tls::client_config(address, trust)?;
        let name = rustls::pki_types::ServerName::try_from(address.host.clone()).map_err(|_| Error::Address {
            text: address.to_string(),
            problem: "the host is no name that a certificate can have",
        })?;
        let stream = tokio_rustls::TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| tls::connect_error(address, error))?;
        Transport::Tls(Box::new(stream.into()))
    } else {
        Transport::Plain(stream)
    };
    let not_a_switchboard = |error: WsError| match error {
        WsError::Io(source) => Error::Unreachable { address: shown.clone(), source },
        other => Error::NotASwitchboard { address: shown.clone(), reason: other.to_string() },
    };
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(address.without_pin())
        .map_err(not_a_switchboard)?;
    request.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(SUBPROTOCOL));
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, transport, Some(websocket_config()))
        .await
        .map_err(not_a_switchboard)?;
    Ok(Connection::new(socket))
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
    let socket = tokio_tungstenite::accept_hdr_async_with_config(transport, choose_subprotocol, Some(websocket_config()))
        .await
        .map_err(link_error)?;
    Ok(Connection::new(socket))
}

/// Refuses whoever doesn't speak this protocol, with a sentence for a person who looks with a browser.
#[cfg(feature = "server")]
#[allow(clippy::result_large_err)] // the shape is tungstenite's
fn choose_subprotocol(
    request: &handshake::Request,
    mut response: handshake::Response,
) -> Result<handshake::Response, handshake::ErrorResponse> {
    let offered = request.headers().get_all(http::header::SEC_WEBSOCKET_PROTOCOL);
    let ours = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    if !ours {
        let mut refusal = handshake::ErrorResponse::new(Some("This is an a2alinker switchboard.\n".to_owned()));
        *refusal.status_mut() = http::StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    response.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

fn link_error(error: WsError) -> Error {
    match error {
        WsError::Io(source) => Error::Lost { source },
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) | WsError::ConnectionClosed | WsError::AlreadyClosed => {
            Error::Lost { source: io::ErrorKind::ConnectionReset.into() }
        }
        other => Error::Transport { reason: other.to_string() },
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
