//! What the proxy is told, a line each, and the state that this adds up to.
//!
//! ```text
//! swallow WAY            half-open: what comes is read and thrown away, ends included, and nobody hears of it
//! stall WAY              nothing is read any more, so that the sender's window closes
//! drip WAY               one byte a second
//! limit WAY BYTES        so many bytes a second
//! delay WAY SECONDS      everything comes that much later, in order
//! clear                  ends all of the above; a connection that lost bytes by `swallow` stays as dead as it is
//!
//! flip WAY               one bit of what passes next
//! lose WAY BYTES         the next bytes are thrown away although their sender takes them for sent, then the connection is cut
//! cut                    both ends are closed; what the proxy still holds is lost
//! reset                  the same by RST
//! ```
//!
//! WAY is `up` (from who connected), `down`, or `both`. The first group holds for connections to come as well, the second is done once to
//! each that is there. A later order of the same name takes the place of the earlier one.

use std::fmt;
use std::time::Duration;

/// The longest delay, in seconds. Chosen: longer than anything waits; what is under way meanwhile is bounded in bytes.
const DELAY_MAX: f64 = 600.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Swallow(&'static [Way]),
    Stall(&'static [Way]),
    Limit(&'static [Way], u64),
    Delay(&'static [Way], Duration),
    Clear,
    Flip(&'static [Way]),
    Lose(&'static [Way], u64),
    End(End),
}

/// How connections are ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Cut,
    Reset,
}

impl Order {
    /// Reads one line; None if it is no order.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(match *words.as_slice() {
            ["swallow", on] => Self::Swallow(ways(on)?),
            ["stall", on] => Self::Stall(ways(on)?),
            ["drip", on] => Self::Limit(ways(on)?, 1),
            ["limit", on, rate] => Self::Limit(ways(on)?, rate.parse().ok().filter(|rate| *rate > 0)?),
            ["delay", on, seconds] => Self::Delay(ways(on)?, delay(seconds)?),
            ["clear"] => Self::Clear,
            ["flip", on] => Self::Flip(ways(on)?),
            ["lose", on, bytes] => Self::Lose(ways(on)?, bytes.parse().ok()?),
            ["cut"] => Self::End(End::Cut),
            ["reset"] => Self::End(End::Reset),
            _ => return None,
        })
    }
}

fn ways(word: &str) -> Option<&'static [Way]> {
    match word {
        "up" => Some(&[Way::Up]),
        "down" => Some(&[Way::Down]),
        "both" => Some(&Way::BOTH),
        _ => None,
    }
}

fn delay(word: &str) -> Option<Duration> {
    word.parse().ok().filter(|seconds| (0.0..=DELAY_MAX).contains(seconds)).map(Duration::from_secs_f64)
}

/// All orders so far. Each connection looks at it whenever it changes, so two orders in quick succession may be seen as one state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    up: Conditions,
    down: Conditions,
    /// How often connections were ended, and how the last time. What was counted before a connection began doesn't concern it.
    pub ends: u64,
    pub end: End,
}

/// The same for one way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    pub swallow: bool,
    pub stall: bool,
    pub delay: Duration,
    /// Bytes a second.
    pub limit: Option<u64>,
    /// How often a bit was to be flipped.
    pub flips: u64,
    /// How often bytes were to be lost, and how many the last time.
    pub losses: u64,
    pub lose: u64,
}

impl Orders {
    pub fn on(&self, way: Way) -> &Conditions {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// Adds an order.
    pub fn obey(&mut self, order: Order) {
        match order {
            Order::Swallow(ways) => self.each(ways, |on| on.swallow = true),
            Order::Stall(ways) => self.each(ways, |on| on.stall = true),
            Order::Limit(ways, rate) => self.each(ways, |on| on.limit = Some(rate)),
            Order::Delay(ways, delay) => self.each(ways, |on| on.delay = delay),
            Order::Clear => self.each(&Way::BOTH, |on| {
                *on = Conditions { flips: on.flips, losses: on.losses, lose: on.lose, ..Conditions::default() };
            }),
            Order::Flip(ways) => self.each(ways, |on| on.flips += 1),
            Order::Lose(ways, bytes) => self.each(ways, |on| {
                on.losses += 1;
                on.lose = bytes;
            }),
            Order::End(end) => {
                self.ends += 1;
                self.end = end;
            }
        }
    }

    fn each(&mut self, ways: &[Way], change: impl Fn(&mut Conditions)) {
        for way in ways {
            change(match way {
                Way::Up => &mut self.up,
                Way::Down => &mut self.down,
            });
        }
    }
}
