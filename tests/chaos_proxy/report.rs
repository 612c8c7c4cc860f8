//! What the proxy did, a line of JSON each.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::orders::Way;

/// Lines that wait for whoever reads them. Chosen: more than an hour of chaos says; beyond it they are counted and dropped.
const LINES: usize = 4096;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    Listening {
        port: u16,
    },
    Obeyed {
        order: String,
        connections: usize,
    },
    NotUnderstood {
        order: String,
    },
    Opened {
        connection: u64,
    },
    /// Nobody listens where the proxy leads to, or too many connections are open.
    TurnedAway {
        connection: u64,
        why: &'static str,
    },
    Flipped {
        connection: u64,
        way: Way,
        byte: u64,
        bit: u32,
    },
    Closed {
        connection: u64,
        how: &'static str,
        up: Carried,
        down: Carried,
    },
}

/// Bytes of one way of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub passed: u64,
    /// Read and not passed on: swallowed, lost, or under way when the connection ended.
    pub lost: u64,
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { port } => write!(f, r#""what":"listening","port":{port}"#),
            Self::Obeyed { order, connections } => {
                write!(f, r#""what":"obeyed","order":"{}","connections":{connections}"#, plain(order))
            }
            Self::NotUnderstood { order } => write!(f, r#""what":"not understood","order":"{}""#, plain(order)),
            Self::Opened { connection } => write!(f, r#""what":"opened","connection":{connection}"#),
            Self::TurnedAway { connection, why } => {
                write!(f, r#""what":"turned away","connection":{connection},"why":"{why}""#)
            }
            Self::Flipped { connection, way, byte, bit } => {
                write!(f, r#""what":"flipped","connection":{connection},"way":"{way}","byte":{byte},"bit":{bit}"#)
            }
            Self::Closed { connection, how, up, down } => write!(
                f,
                r#""what":"closed","connection":{connection},"how":"{how}","up":{},"up_lost":{},"down":{},"down_lost":{}"#,
                up.passed, up.lost, down.passed, down.lost
            ),
        }
    }
}

/// What may stand in a string of JSON as it is; orders are plain words.
fn plain(text: &str) -> String {
    let is_plain = |character: char| (character.is_ascii_graphic() || character == ' ') && !matches!(character, '"' | '\\');
    text.chars().map(|character| if is_plain(character) { character } else { '?' }).collect()
}

/// Where happenings are told. Telling never waits: a reader that is too slow misses some, and learns how many.
#[derive(Clone)]
pub struct Report {
    lines: mpsc::Sender<Told>,
    missed: Arc<AtomicU64>,
    began: Instant,
}

#[derive(Debug)]
pub struct Told {
    /// Seconds since the proxy began.
    pub at: f64,
    pub what: Happening,
    /// Happenings before this one that were dropped.
    pub missed: u64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"{{"at":{:.3},"missed":{},{}}}"#, self.at, self.missed, self.what)
    }
}

impl Report {
    pub fn new() -> (Self, mpsc::Receiver<Told>) {
        let (lines, told) = mpsc::channel(LINES);
        (Self { lines, missed: Arc::default(), began: Instant::now() }, told)
    }

    pub fn tell(&self, what: Happening) {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        let told = Told { at: self.began.elapsed().as_secs_f64(), what, missed };
        if self.lines.try_send(told).is_err() {
            self.missed.fetch_add(missed + 1, Ordering::Relaxed);
        }
    }
}
