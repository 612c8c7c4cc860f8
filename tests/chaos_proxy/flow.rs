//! One way of one connection: reads at one end, writes at the other, and does to the bytes in between what it is told.
//!
//! All it waits for is one `select!`: orders, bytes to read, the moment when the oldest waiting bytes are due, and room to write them.
//! So an order holds at once, whatever the peers do.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::orders::{Conditions, Orders, Way};
use super::report::{Carried, Happening, Report};

/// Bytes that are read at a time, and that wait at most on a way without delay.
const PIECE: usize = 64 << 10;
/// The same where the rate is limited. Chosen: small, as the proxy is to be a narrow way and not a long queue.
const NARROW: u64 = 4 << 10;
/// Bytes that wait at most where everything comes later.
const UNDER_WAY: u64 = 1 << 20;
/// How often in a second something is written at a limited rate, if it is more than a byte.
const PULSE: u64 = 50;

/// Why a flow ended before both ends had said all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// One end was reset.
    Reset,
    /// The bytes that were to be lost are.
    Lost,
}

pub struct Flow<'a> {
    pub connection: u64,
    pub way: Way,
    from: &'a TcpStream,
    to: &'a TcpStream,
    orders: watch::Receiver<Orders>,
    report: &'a Report,
    carried: &'a mut Carried,
    dice: u64,
    /// What was ordered before the connection began, or is done.
    flipped: u64,
    losses: u64,
    to_lose: Option<u64>,
    /// It has swallowed something, so that nothing sensible can follow.
    dead: bool,
    waiting: VecDeque<Piece>,
    waiting_bytes: u64,
    next_write: Instant,
    ended: bool,
}

struct Piece {
    came: Instant,
    bytes: Vec<u8>,
    written: usize,
}

impl<'a> Flow<'a> {
    pub fn new(
        (connection, way): (u64, Way),
        (from, to): (&'a TcpStream, &'a TcpStream),
        orders: watch::Receiver<Orders>,
        report: &'a Report,
        carried: &'a mut Carried,
        dice: u64,
    ) -> Self {
        let Conditions { flips: flipped, losses, .. } = *orders.borrow().on(way);
        Self {
            connection,
            way,
            from,
            to,
            orders,
            report,
            carried,
            dice,
            flipped,
            losses,
            to_lose: None,
            dead: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            next_write: Instant::now(),
            ended: false,
        }
    }

    /// Carries until the source has ended and all that came is passed on.
    pub async fn run(mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; PIECE];
        loop {
            let now = Instant::now();
            let on = *self.orders.borrow_and_update().on(self.way);
            self.dead |= on.swallow;
            if on.losses > self.losses {
                (self.losses, self.to_lose) = (on.losses, Some(on.lose));
            }
            if self.dead {
                self.throw_away();
            }
            if self.ended && self.waiting.is_empty() {
                if !self.dead {
                    // It may be closed already.
                    let _shut = SockRef::from(self.to).shutdown(Shutdown::Write);
                }
                return Ok(());
            }
            let reads = !self.ended && !on.stall && self.waiting_bytes < capacity(&on);
            let due = self.due(&on);
            let (from, to, orders) = (self.from, self.to, &mut self.orders);
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return Ok(()) },
                ready = from.readable(), if reads => self.take(ready, &mut buffer, &on)?,
                () = sleep_until(due.unwrap_or(now)), if due.is_some_and(|due| due > now) => {}
                ready = to.writable(), if due.is_some_and(|due| due <= now) => self.give(ready, &on)?,
            }
        }
    }

    /// When the oldest waiting bytes may be written.
    fn due(&self, on: &Conditions) -> Option<Instant> {
        let arrived = self.waiting.front()?.came + on.delay;
        Some(if on.limit.is_some() { arrived.max(self.next_write) } else { arrived })
    }

    fn take(&mut self, ready: io::Result<()>, buffer: &mut [u8], on: &Conditions) -> Result<(), Broken> {
        match ready.and_then(|()| self.from.try_read(buffer)) {
            Ok(0) => self.ended = true,
            Ok(length) => self.read(&mut buffer[..length], on)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Nobody hears of what becomes of a swallowed end.
            Err(_) if self.dead => self.ended = true,
            Err(_) => return Err(Broken::Reset),
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8], on: &Conditions) -> Result<(), Broken> {
        if let Some(rest) = self.to_lose {
            let lost = rest.min(bytes.len() as u64);
            self.carried.lost += bytes.len() as u64;
            self.to_lose = Some(rest - lost);
            return if rest == lost { Err(Broken::Lost) } else { Ok(()) };
        }
        if self.dead {
            self.carried.lost += bytes.len() as u64;
            return Ok(());
        }
        while self.flipped < on.flips {
            self.flipped += 1;
            self.flip(bytes);
        }
        self.waiting_bytes += bytes.len() as u64;
        self.waiting.push_back(Piece { came: Instant::now(), bytes: bytes.to_vec(), written: 0 });
        Ok(())
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let number = roll(&mut self.dice);
        let at = (number >> 3) as usize % bytes.len();
        let bit = (number & 7) as u32;
        bytes[at] ^= 1 << bit;
        let byte = self.carried.passed + self.waiting_bytes + at as u64;
        self.report.tell(Happening::Flipped { connection: self.connection, way: self.way, byte, bit });
    }

    fn give(&mut self, ready: io::Result<()>, on: &Conditions) -> Result<(), Broken> {
        let Some(piece) = self.waiting.front_mut() else { return Ok(()) };
        let rest = &piece.bytes[piece.written..];
        let most = on.limit.map_or(rest.len(), |rate| (rate / PULSE).clamp(1, PIECE as u64) as usize);
        match ready.and_then(|()| self.to.try_write(&rest[..most.min(rest.len())])) {
            Ok(length) => {
                piece.written += length;
                if piece.written == piece.bytes.len() {
                    self.waiting.pop_front();
                }
                self.waiting_bytes -= length as u64;
                self.carried.passed += length as u64;
                if let Some(rate) = on.limit {
                    let pause = Duration::from_secs_f64(length as f64 / rate as f64);
                    // What a late timer missed is made good, as far as one pulse.
                    let earliest = Instant::now().checked_sub(Duration::from_secs(1) / PULSE as u32);
                    self.next_write = earliest.map_or(self.next_write, |earliest| self.next_write.max(earliest)) + pause;
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Broken::Reset),
        }
    }

    fn throw_away(&mut self) {
        self.carried.lost += self.waiting_bytes;
        self.waiting_bytes = 0;
        self.waiting.clear();
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        self.throw_away();
    }
}

fn capacity(on: &Conditions) -> u64 {
    let bytes = match on.limit {
        Some(rate) => NARROW + (rate as f64 * on.delay.as_secs_f64()) as u64,
        None if on.delay.is_zero() => PIECE as u64,
        None => UNDER_WAY,
    };
    bytes.min(UNDER_WAY)
}

/// SplitMix64, by Sebastiano Vigna.
pub fn roll(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *dice;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
