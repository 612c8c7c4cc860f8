//! The upper limit that `a2alinker bench` measures against: the same workloads without a2alinker.
//!
//! One process each for the relay and the two sides, plain WebSocket, no encryption, no acknowledgement, no order to keep beyond
//! TCP's: what a Rust program that shares this transport could reach at best on the machine at hand. Each program says on standard
//! output when it is ready and what it measured, as one line of JSON, so that a driver can run them interleaved with ours.
//!
//! ```text
//! bare_relay relay                                    {"url":"ws://127.0.0.1:40123"}
//! bare_relay echo      URL                            {"ready":true}
//! bare_relay requester URL --in-flight 64 --seconds 2 {"messages":..,"seconds":..,"p50_us":..,"p99_us":..}
//! bare_relay sink      URL                            {"ready":true}, then {"messages":..,"seconds":..,"bytes":..}
//! bare_relay source    URL --size 256 --seconds 2     {"messages":..}
//! ```
//!
//! A connection's first message is its own 16-byte name; each later one begins with the name that it goes to.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use clap::{Parser, Subcommand};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Names have a fixed length, so that the relay finds the receiver without parsing.
const NAME: usize = 16;
/// Messages that may wait in the relay for one receiver; beyond that its sender is not read. Chosen; larger values gain nothing.
const QUEUE: usize = 1024;
/// Messages that the relay writes before it flushes, if more are waiting.
const BATCH: usize = 256;
/// The sequence number that ends a one-way run.
const END: u64 = u64::MAX;

type Name = [u8; NAME];
type Socket = WebSocketStream<TcpStream>;
type Routes = Arc<Mutex<BTreeMap<Name, mpsc::Sender<Bytes>>>>;

#[derive(Parser)]
#[command(about = "The workloads of `a2alinker bench` on a bare WebSocket relay")]
struct Arguments {
    /// One thread answers sooner, tokio's default of one for each core passes on more: neither is the limit for every workload
    #[arg(long)]
    one_thread: bool,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Passes messages on between connections
    Relay,
    /// Sends each message back to the requester
    Echo { url: String },
    /// Sends requests to the echo and measures how long the answers take
    Requester {
        url: String,
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        #[arg(long, default_value_t = 256)]
        size: usize,
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Counts what the source sends and checks every number
    Sink { url: String },
    /// Sends numbered messages to the sink
    Source {
        url: String,
        #[arg(long, default_value_t = 256)]
        size: usize,
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut runtime = if arguments.one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let outcome = runtime.enable_all().build().map_err(Error::from).and_then(|runtime| runtime.block_on(play(arguments.role)));
    match outcome {
        Ok(()) | Err(Error::ConnectionClosed) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare_relay: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(role: Role) -> Result<(), Error> {
    match role {
        Role::Relay => relay().await,
        Role::Echo { url } => echo(&url).await,
        Role::Requester { url, in_flight, size, seconds } => {
            requester(&url, in_flight, size, Duration::from_secs_f64(seconds)).await
        }
        Role::Sink { url } => sink(&url).await,
        Role::Source { url, size, seconds } => source(&url, size, Duration::from_secs_f64(seconds)).await,
    }
}

async fn relay() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{{\"url\":\"ws://{}\"}}", listener.local_addr()?);
    let routes = Routes::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let routes = Arc::clone(&routes);
        tokio::spawn(async move {
            // A client that disconnects ends its own connection and nothing else.
            let _ = serve(stream, routes).await;
        });
    }
}

async fn serve(stream: TcpStream, routes: Routes) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    let name = name_in(&next(&mut socket).await?)?;
    let (queue, mut waiting) = mpsc::channel::<Bytes>(QUEUE);
    routes.lock().expect("no holder of this lock panics").insert(name, queue);

    let (mut writer, mut reader) = socket.split();
    let writing = tokio::spawn(async move {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            for message in batch.drain(..) {
                writer.feed(Message::Binary(message)).await?;
            }
            if waiting.is_empty() {
                writer.flush().await?;
            }
        }
        writer.close().await
    });

    let mut route: Option<(Name, mpsc::Sender<Bytes>)> = None;
    while let Some(message) = reader.next().await {
        let Message::Binary(message) = message? else {
            continue;
        };
        let to = name_in(&message)?;
        if route.as_ref().is_none_or(|(known, queue)| *known != to || queue.is_closed()) {
            let found = routes.lock().expect("no holder of this lock panics").get(&to).cloned();
            route = found.map(|queue| (to, queue));
        }
        if let Some((_, queue)) = &route {
            // An error means that the receiver is gone: a bare relay drops what it can't pass on.
            let _ = queue.send(message).await;
        }
    }
    routes.lock().expect("no holder of this lock panics").remove(&name);
    writing.abort();
    Ok(())
}

async fn echo(url: &str) -> Result<(), Error> {
    let mut socket = connect(url, name("echo")).await?;
    println!("{{\"ready\":true}}");
    let requester = name("requester");
    loop {
        let mut message = Some(next(&mut socket).await?);
        while let Some(request) = message {
            let mut answer = BytesMut::with_capacity(request.len());
            answer.put_slice(&requester);
            answer.put_slice(&request[NAME..]);
            socket.feed(Message::Binary(answer.freeze())).await?;
            message = next(&mut socket).now_or_never().transpose()?;
        }
        socket.flush().await?;
    }
}

async fn requester(url: &str, in_flight: usize, size: usize, period: Duration) -> Result<(), Error> {
    let mut socket = connect(url, name("requester")).await?;
    let (to, body) = (name("echo"), vec![b'x'; size]);
    let mut sent_at = VecDeque::with_capacity(in_flight);
    let mut latencies = Vec::new();
    let (mut sent, mut answered) = (0u64, 0u64);
    let begin = Instant::now();
    while begin.elapsed() < period || !sent_at.is_empty() {
        while sent_at.len() < in_flight && begin.elapsed() < period {
            sent_at.push_back(Instant::now());
            socket.feed(numbered(to, sent, &body)).await?;
            sent += 1;
        }
        socket.flush().await?;
        let mut message = Some(next(&mut socket).await?);
        while let Some(answer) = message {
            if number_in(&answer)? != answered {
                return Err(protocol("an answer is missing or out of order"));
            }
            answered += 1;
            latencies.extend(sent_at.pop_front().map(|then| then.elapsed()));
            message = next(&mut socket).now_or_never().transpose()?;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let quantile = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let (p50, p99) = (quantile(0.5), quantile(0.99));
    println!("{{\"messages\":{answered},\"seconds\":{seconds},\"p50_us\":{p50:.1},\"p99_us\":{p99:.1}}}");
    socket.close(None).await
}

async fn sink(url: &str) -> Result<(), Error> {
    let mut socket = connect(url, name("sink")).await?;
    println!("{{\"ready\":true}}");
    let (mut expected, mut bytes) = (0u64, 0usize);
    let mut message = next(&mut socket).await?;
    let begin = Instant::now();
    loop {
        let number = number_in(&message)?;
        if number == END {
            break;
        }
        if number != expected {
            return Err(protocol("a message is missing or out of order"));
        }
        expected += 1;
        bytes += message.len() - NAME;
        message = next(&mut socket).await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{{\"messages\":{expected},\"seconds\":{seconds},\"bytes\":{bytes}}}");
    socket.close(None).await
}

async fn source(url: &str, size: usize, period: Duration) -> Result<(), Error> {
    let mut socket = connect(url, name("source")).await?;
    let (to, body) = (name("sink"), vec![b'x'; size]);
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < period {
        socket.feed(numbered(to, sent, &body)).await?;
        sent += 1;
    }
    socket.send(numbered(to, END, &body)).await?;
    println!("{{\"messages\":{sent}}}");
    socket.close(None).await?;
    // What the relay hasn't read yet would be lost with a socket that is reset.
    while next(&mut socket).await.is_ok() {}
    Ok(())
}

async fn connect(url: &str, name: Name) -> Result<Socket, Error> {
    let address = url.strip_prefix("ws://").ok_or_else(|| protocol("an address begins with ws://"))?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
    socket.send(Message::Binary(Bytes::copy_from_slice(&name))).await?;
    Ok(socket)
}

/// The next binary message.
async fn next(socket: &mut Socket) -> Result<Bytes, Error> {
    while let Some(message) = socket.next().await {
        if let Message::Binary(message) = message? {
            return Ok(message);
        }
    }
    Err(Error::ConnectionClosed)
}

/// A message whose body begins with its number and has the length of `body`.
fn numbered(to: Name, number: u64, body: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(NAME + body.len());
    message.put_slice(&to);
    message.put_u64(number);
    message.put_slice(&body[size_of::<u64>()..]);
    Message::Binary(message.freeze())
}

fn number_in(message: &Bytes) -> Result<u64, Error> {
    let field = message.get(NAME..NAME + size_of::<u64>()).and_then(|field| field.try_into().ok());
    field.map(u64::from_be_bytes).ok_or_else(|| protocol("a message has no number"))
}

fn name_in(message: &Bytes) -> Result<Name, Error> {
    let field = message.get(..NAME).and_then(|field| field.try_into().ok());
    field.ok_or_else(|| protocol("a message has no name"))
}

fn name(text: &str) -> Name {
    let mut name = [0; NAME];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

fn protocol(what: &str) -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
}
