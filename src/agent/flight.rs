//! How much of a long transfer may be on its way at a time.
//!
//! Credit says what a receiver's memory holds; it says nothing of the way there. A sender that fills its credit on a slow path fills every queue on
//! it, and an urgent message waits behind all of that where nobody knows of lanes: in kernels, modems and routers. So a lane keeps no more
//! under way than the path carries: twice what it was seen to deliver in the shortest round trip that was seen. Twice, so that a path that
//! becomes faster is noticed; from the beginning the window doubles with each round trip until the path is full. The window itself makes a queue
//! that hides how short the path is, so from time to time it shrinks until a message has found the path empty.
//!
//! Where other lanes have more under way than that, the queue is theirs, and to spare it would only starve this one: at the same delay, what a lane
//! has under way is its share of the path. So it may have as much as they, and the lanes' weights decide.
//!
//! It holds for everything in lane bulk, and for parts of large bodies in any lane. What is measured are messages that went once.

use std::time::Duration;

/// Bytes that may be under way whatever was measured. Chosen: two parts, so that a short path never waits for a receipt.
const WINDOW_MIN: u64 = 128 << 10;
/// The fastest rate of the last one to two of these is the path's. Chosen: longer than most pauses of a source, shorter than a user's patience.
const RATE_PERIOD: Duration = Duration::from_secs(1);
/// A round trip that is older is measured anew. Chosen: that costs half a round trip of sending each time.
const ROUND_TRIP_PERIOD: Duration = Duration::from_secs(10);
/// Shorter ones are taken for this. Chosen: what a busy receiver may take to answer, and what an urgent message may well wait.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(10);

/// The window of one lane to one peer.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// In lane bulk every message counts.
    counts_all: bool,
    under_way: u64,
    /// What other lanes have under way.
    beside: u64,
    /// Bytes that were confirmed in all, and when the last were.
    landed: u64,
    landed_at: Duration,
    /// Bytes in a second: the best of this period and of the one before.
    rates: Best<u64>,
    /// The shortest that was seen, and when it was last seen or measured anew.
    round_trip: Option<Duration>,
    measured_at: Duration,
    /// It is being measured anew: little is sent until one message has found the path empty.
    is_measuring: bool,
}

/// What is noted of a message when it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    bytes: u64,
    at: Duration,
    landed: u64,
    landed_at: Duration,
    /// It went while little was under way, to measure.
    measures: bool,
}

/// The largest value of this period and of the one before.
#[derive(Debug, Default)]
struct Best<T> {
    since: Duration,
    now: Option<T>,
    before: Option<T>,
}

impl<T: Ord + Copy> Best<T> {
    fn note(&mut self, value: T, period: Duration, now: Duration) {
        if now >= self.since + period {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = self.now.max(Some(value));
    }

    fn get(&self) -> Option<T> {
        self.now.max(self.before)
    }
}

impl Flight {
    pub(super) fn new(counts_all: bool) -> Self {
        Self { counts_all, ..Self::default() }
    }

    /// Begins again with another receiver.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.counts_all);
    }

    pub(super) fn counts_all(&self) -> bool {
        self.counts_all
    }

    /// Bytes that may be under way.
    fn window(&self) -> u64 {
        (2 * self.carried()).max(WINDOW_MIN)
    }

    /// Bytes that the path holds when its queues are empty.
    fn carried(&self) -> u64 {
        let (Some(rate), Some(round_trip)) = (self.rates.get(), self.round_trip) else { return 0 };
        let carried = u128::from(rate) * round_trip.max(ROUND_TRIP_MIN).as_nanos() / 1_000_000_000;
        u64::try_from(carried).unwrap_or(u64::MAX / 2).min(u64::MAX / 2)
    }

    /// Other lanes have so many bytes under way on the same path.
    pub(super) fn note_beside(&mut self, bytes: u64) {
        self.beside = bytes;
    }

    /// Whether a message of this size may go.
    pub(super) fn admits(&self, bytes: u64) -> bool {
        let window = if self.is_measuring { self.carried() / 2 } else { self.window() };
        cfg!(feature = "planted_flight_off") || self.under_way == 0 || self.under_way + bytes <= window.max(self.beside)
    }

    /// A message goes.
    pub(super) fn start(&mut self, bytes: u64, now: Duration) -> Start {
        if self.under_way == 0 {
            self.landed_at = now;
        }
        self.under_way += bytes;
        Start { bytes, at: now, landed: self.landed, landed_at: self.landed_at, measures: self.is_measuring }
    }

    /// A message has arrived, or nothing is to be heard of it any more. `went_once`: it tells something about the path.
    pub(super) fn land(&mut self, start: Start, went_once: bool, now: Duration) {
        self.under_way = self.under_way.saturating_sub(start.bytes);
        self.landed += start.bytes;
        self.landed_at = self.landed_at.max(now);
        let took = now.saturating_sub(start.at);
        let since = now.saturating_sub(start.landed_at);
        if !went_once || took.is_zero() || since.is_zero() {
            return;
        }
        let rate = u128::from(self.landed - start.landed) * 1_000_000_000 / since.as_nanos();
        self.rates.note(u64::try_from(rate).unwrap_or(u64::MAX), RATE_PERIOD, now);
        if start.measures || self.round_trip.is_none_or(|shortest| took <= shortest) {
            self.round_trip = Some(took);
            self.measured_at = now;
            self.is_measuring = false;
        } else if now >= self.measured_at + ROUND_TRIP_PERIOD {
            self.is_measuring = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const PART: u64 = 64 << 10;

    /// A path that carries so many bytes in a second, one after the other, with a delay; its queue has no end.
    struct Path {
        rate: u64,
        delay: Duration,
        free_at: Duration,
        under_way: VecDeque<(Duration, Start)>,
    }

    impl Path {
        fn new(rate: u64, delay: Duration) -> Self {
            Self { rate, delay, free_at: Duration::ZERO, under_way: VecDeque::new() }
        }

        fn send(&mut self, start: Start, now: Duration) {
            self.free_at = self.free_at.max(now) + Duration::from_secs_f64(start.bytes as f64 / self.rate as f64);
            self.under_way.push_back((self.free_at + self.delay, start));
        }

        /// How long something that goes now would wait for what went before.
        fn queue(&self, now: Duration) -> Duration {
            self.free_at.saturating_sub(now)
        }
    }

    /// Sends as much as the window allows for so long. Returns what arrived, and the longest queue of the second half.
    fn play(flight: &mut Flight, path: &mut Path, from: Duration, until: Duration) -> (u64, Duration) {
        let (mut now, mut arrived, mut queue) = (from, 0, Duration::ZERO);
        while now < until {
            while flight.admits(PART) {
                let start = flight.start(PART, now);
                path.send(start, now);
            }
            if now > (from + until) / 2 {
                queue = queue.max(path.queue(now));
            }
            let Some((at, start)) = path.under_way.pop_front() else { panic!("nothing is under way, and nothing may go") };
            now = now.max(at);
            flight.land(start, true, now);
            arrived += start.bytes;
        }
        (arrived, queue)
    }

    #[test]
    fn a_slow_path_is_filled_and_its_queue_stays_short() {
        let mut flight = Flight::new(true);
        let mut path = Path::new(1_250_000, Duration::from_millis(100));
        let (arrived, queue) = play(&mut flight, &mut path, Duration::ZERO, Duration::from_secs(20));
        assert!(arrived > 20 * 1_250_000 * 9 / 10, "{arrived} bytes in 20 s");
        assert!(queue < Duration::from_millis(400), "something urgent would wait for {queue:?}");
    }

    #[test]
    fn a_fast_and_long_path_is_filled_too() {
        let mut flight = Flight::new(true);
        let mut path = Path::new(100_000_000, Duration::from_millis(100));
        let (arrived, _) = play(&mut flight, &mut path, Duration::ZERO, Duration::from_secs(10));
        assert!(arrived > 10 * 100_000_000 * 8 / 10, "{arrived} bytes in 10 s");
    }

    #[test]
    fn a_path_that_becomes_slower_has_a_short_queue_again() {
        let mut flight = Flight::new(true);
        let mut path = Path::new(100_000_000, Duration::from_millis(50));
        play(&mut flight, &mut path, Duration::ZERO, Duration::from_secs(5));
        path.rate = 1_250_000;
        let (_, queue) = play(&mut flight, &mut path, Duration::from_secs(5), Duration::from_secs(65));
        assert!(queue < Duration::from_millis(400), "something urgent would wait for {queue:?}");
    }

    #[test]
    fn what_went_more_than_once_tells_nothing() {
        let mut flight = Flight::new(false);
        let start = flight.start(PART, Duration::ZERO);
        flight.land(start, false, Duration::from_secs(60));
        assert_eq!((flight.window(), flight.under_way), (WINDOW_MIN, 0));
    }

    #[test]
    fn beside_others_a_lane_may_have_as_much_under_way_as_they() {
        let mut flight = Flight::new(true);
        flight.note_beside(10 * PART);
        let mut sent = 0;
        while flight.admits(PART) {
            flight.start(PART, Duration::ZERO);
            sent += 1;
        }
        assert_eq!(sent, 10);
        flight.note_beside(0);
        assert!(!flight.admits(PART));
    }

    #[test]
    fn a_message_larger_than_the_window_goes_alone() {
        let mut flight = Flight::new(false);
        assert!(flight.admits(1 << 20));
        let start = flight.start(1 << 20, Duration::ZERO);
        assert!(!flight.admits(1));
        flight.land(start, true, Duration::from_secs(1));
        assert!(flight.admits(1));
    }
}
