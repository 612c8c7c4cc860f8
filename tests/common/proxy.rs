//! A small HTTP proxy, honest or not, on a free port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a proxy does with a CONNECT.
#[derive(Clone)]
pub enum Manner {
    /// Leads to this port of this machine, whatever host was asked for.
    Leads(u16),
    /// The same for those who show this user and password (in base64), and 407 for all others.
    Asks(&'static str, u16),
    /// The same, but its answer takes its time, byte by byte.
    Drips(u16),
    /// Says this, and closes.
    Says(Vec<u8>),
    /// Says nothing, and stays.
    Silent,
}

/// Ends when dropped.
pub struct TestProxy {
    pub port: u16,
    /// How many tunnels were opened.
    pub tunnels: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl TestProxy {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let opened = tunnels.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, manner.clone(), opened.clone()));
            }
        });
        Self { port, tunnels, accepting }
    }

    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, manner: Manner, opened: Arc<AtomicUsize>) {
    const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";
    let Some(request) = header(&mut client).await else { return };
    assert!(request.starts_with("CONNECT ") && request.contains("\r\nHost: "), "{request}");
    // Whether the client hears all of an answer is its own business.
    let port = match manner {
        Manner::Leads(port) => {
            let _sent = client.write_all(ESTABLISHED).await;
            port
        }
        Manner::Asks(credentials, port) => {
            if !request.contains(&format!("\r\nProxy-Authorization: Basic {credentials}\r\n")) {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nwho?";
                let _sent = client.write_all(refusal).await;
                return;
            }
            let _sent = client.write_all(ESTABLISHED).await;
            port
        }
        Manner::Drips(port) => {
            for byte in ESTABLISHED {
                let _sent = client.write_all(&[*byte]).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            port
        }
        Manner::Says(answer) => {
            let _sent = client.write_all(&answer).await;
            return;
        }
        Manner::Silent => {
            let _until_the_client_goes = client.read(&mut [0]).await;
            return;
        }
    };
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("the switchboard listens");
    opened.fetch_add(1, Ordering::Relaxed);
    let _ended = copy_bidirectional(&mut client, &mut server).await;
}

/// Reads the request up to its blank line.
async fn header(client: &mut TcpStream) -> Option<String> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.push(client.read_u8().await.ok()?);
    }
    String::from_utf8(header).ok()
}
