//! The lane scheduler, held against PROTOCOL.md section 4.

use std::collections::BTreeMap;
use std::time::Duration;

use a2alinker::proto::{Lane, LaneLimits, LaneQueue, limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

const ROOMY: LaneLimits = LaneLimits { frames_per_lane: usize::MAX, bytes_per_lane: usize::MAX };
const LARGEST: usize = limits::FRAME;

/// Each case plays thousands of frames. A failure prints its input, which then becomes a named test.
fn cases() -> Config {
    Config { cases: 64, failure_persistence: None, ..Config::default() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Notice,
    In(Lane),
}

/// What one pop gave, and what waited before it.
#[derive(Debug, Clone, Copy)]
struct Popped {
    at: Duration,
    class: Class,
    number: usize,
    len: usize,
    rest_waited: bool,
}

// Order.

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn within_a_lane_the_order_is_kept_and_nothing_is_lost(steps in steps(), seed in any::<u64>()) {
        let (popped, pushed) = play(&steps, seed);
        let mut by_class: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for item in &popped {
            by_class.entry(item.class).or_default().push(item.number);
        }
        prop_assert_eq!(popped.len(), pushed);
        for numbers in by_class.values() {
            prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_queue_that_holds_anything_gives_something(steps in steps(), seed in any::<u64>()) {
        let mut queue = LaneQueue::new(ROOMY);
        let mut waiting = 0;
        let mut now = Duration::ZERO;
        for step in &steps {
            push(&mut queue, step, 0);
            waiting += 1;
            now += Duration::from_micros(seed % 977);
            if step.pops {
                prop_assert!(queue.pop(now).is_some());
                waiting -= 1;
            }
            prop_assert_eq!((queue.len(), queue.is_empty()), (waiting, waiting == 0));
        }
        for _ in 0..waiting {
            prop_assert!(queue.pop(now).is_some());
        }
        prop_assert!(queue.is_empty() && queue.pop(now).is_none() && queue.bytes() == 0);
    }

    #[test]
    fn bytes_are_what_was_pushed_and_not_popped(steps in steps()) {
        let mut queue = LaneQueue::new(ROOMY);
        let mut by_class: BTreeMap<Class, usize> = BTreeMap::new();
        for step in &steps {
            push(&mut queue, step, 0);
            *by_class.entry(step.class).or_default() += step.len;
            if step.pops && let Some((class, _, len)) = queue.pop(Duration::ZERO) {
                *by_class.entry(class).or_default() -= len;
            }
            prop_assert_eq!(queue.bytes(), by_class.values().sum::<usize>());
            for lane in Lane::ALL {
                prop_assert_eq!(queue.bytes_in(lane), by_class.get(&Class::In(lane)).copied().unwrap_or(0));
            }
        }
    }
}

#[test]
fn notices_go_first() {
    let mut queue = LaneQueue::new(ROOMY);
    for lane in Lane::ALL {
        queue.push(lane, 10, "frame").expect("room");
    }
    queue.push_notice(10, "notice").expect("room");
    assert_eq!(queue.pop(Duration::ZERO), Some("notice"));
}

#[test]
fn urgent_overtakes_what_waited_before_it() {
    for slow in [Lane::High, Lane::Normal, Lane::Bulk] {
        let mut queue = LaneQueue::new(ROOMY);
        for _ in 0..10 {
            queue.push(slow, 1_000, slow).expect("room");
        }
        queue.push(Lane::Urgent, 1_000, Lane::Urgent).expect("room");
        assert_eq!(queue.pop(Duration::ZERO), Some(Lane::Urgent));
    }
}

#[test]
fn a_burst_of_small_urgent_frames_goes_at_once_after_the_rest_has_sent() {
    let mut queue = LaneQueue::new(ROOMY);
    for _ in 0..4 {
        queue.push(Lane::Bulk, 16_384, Lane::Bulk).expect("room");
    }
    assert_eq!(queue.pop(Duration::ZERO), Some(Lane::Bulk));
    for _ in 0..32 {
        queue.push(Lane::Urgent, 512, Lane::Urgent).expect("room");
    }
    for _ in 0..32 {
        assert_eq!(queue.pop(Duration::ZERO), Some(Lane::Urgent));
    }
}

// The half rule.

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn control_and_urgent_take_at_most_half_of_any_window_while_the_rest_waits(steps in steps(), seed in any::<u64>()) {
        let (popped, _) = play(&steps, seed);
        assert_half_rule(&popped)?;
    }

    #[test]
    fn a_flood_of_urgent_gets_half_and_not_less(lens in vec(100usize..LARGEST, 3), gap in 1u64..5_000) {
        let popped = flood(&[(Lane::Control, lens[0] % 1_113), (Lane::Urgent, lens[1]), (Lane::Bulk, lens[2])], gap, 1_500);
        assert_half_rule(&popped)?;
        let urgent = share(&popped, &[Lane::Control, Lane::Urgent]);
        let slack = 4.0 * LARGEST as f64 / bytes(&popped) as f64;
        // What the rest is owed is forgiven once in a window, one frame at most: with frames that fill a window it shows.
        let windows = popped.last().expect("pops").at.as_millis() as f64 / 100.0;
        let forgiven = windows * LARGEST as f64 / bytes(&popped) as f64;
        prop_assert!(urgent >= 0.5 - slack, "{urgent}");
        prop_assert!(urgent <= 0.5 + slack + forgiven, "{urgent}");
    }
}

#[test]
fn urgent_has_the_whole_link_when_nothing_else_waits() {
    let mut queue = LaneQueue::new(ROOMY);
    for _ in 0..100 {
        queue.push(Lane::Urgent, LARGEST, Lane::Urgent).expect("room");
    }
    for _ in 0..100 {
        assert_eq!(queue.pop(Duration::ZERO), Some(Lane::Urgent));
    }
    queue.push(Lane::Bulk, 100, Lane::Bulk).expect("room");
    queue.push(Lane::Urgent, 100, Lane::Urgent).expect("room");
    assert_eq!(queue.pop(Duration::ZERO), Some(Lane::Urgent), "what went while nothing else waited is not held against it");
}

#[test]
fn what_urgent_took_in_an_earlier_window_is_forgiven() {
    let mut queue = LaneQueue::new(ROOMY);
    for lane in [Lane::Urgent, Lane::Bulk] {
        for _ in 0..4 {
            queue.push(lane, LARGEST / if lane == Lane::Bulk { 64 } else { 1 }, lane).expect("room");
        }
    }
    assert_eq!(queue.pop(Duration::from_millis(100)), Some(Lane::Urgent));
    assert_eq!(queue.pop(Duration::from_millis(199)), Some(Lane::Bulk), "the window is still the same");
    assert_eq!(queue.pop(Duration::from_millis(200)), Some(Lane::Urgent));
}

#[test]
fn a_clock_that_stands_still_or_steps_back_starves_nobody() {
    let mut queue = LaneQueue::new(ROOMY);
    for lane in Lane::ALL {
        for _ in 0..1_000 {
            queue.push(lane, 1_000, lane).expect("room");
        }
    }
    let mut seen = BTreeMap::new();
    for step in 0..1_000u64 {
        let lane = queue.pop(Duration::from_secs(1_000 - step)).expect("it isn't empty");
        *seen.entry(lane).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), Lane::COUNT, "{seen:?}");
}

// Shares.

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn high_normal_and_bulk_share_eight_to_four_to_two(lens in vec(50usize..LARGEST, 3)) {
        let popped = flood(&[(Lane::High, lens[0]), (Lane::Normal, lens[1]), (Lane::Bulk, lens[2])], 10, 60_000);
        let tolerance = 3.0 * (128 * 1024 + LARGEST) as f64 / bytes(&popped) as f64;
        for (lane, weight) in [(Lane::High, 8.0), (Lane::Normal, 4.0), (Lane::Bulk, 2.0)] {
            let share = share(&popped, &[lane]);
            prop_assert!((share - weight / 14.0).abs() < tolerance, "{lane:?}: {share}");
        }
    }

    #[test]
    fn no_lane_starves(lens in vec(50usize..LARGEST, Lane::COUNT)) {
        let lanes: Vec<_> = Lane::ALL.into_iter().zip(lens).map(|(lane, len)| (lane, if lane == Lane::Control { len % 1_113 + 1 } else { len })).collect();
        let popped = flood(&lanes, 10, 10_000);
        for lane in Lane::ALL {
            let mut waited = 0;
            for item in &popped {
                waited = if item.class == Class::In(lane) { 0 } else { waited + item.len };
                // A whole round of the others, and as much again for control and urgent, and the frame itself.
                prop_assert!(waited <= 2 * (224 * 1024 * 3 + 3 * LARGEST), "{lane:?} waited for {waited} bytes");
            }
        }
    }
}

#[test]
fn bulk_alone_has_the_whole_link() {
    let popped = flood(&[(Lane::Bulk, 1_000)], 10, 1_000);
    assert_eq!(popped.len(), 1_000);
}

#[test]
fn a_lane_that_was_idle_has_saved_nothing_up() {
    let mut queue = LaneQueue::new(ROOMY);
    for _ in 0..3_000 {
        queue.push(Lane::Normal, 1_024, Lane::Normal).expect("room");
    }
    for _ in 0..1_000 {
        queue.pop(Duration::ZERO);
    }
    for _ in 0..1_000 {
        queue.push(Lane::Bulk, 1_024, Lane::Bulk).expect("room");
    }
    let bulk = (0..960).filter(|_| queue.pop(Duration::ZERO) == Some(Lane::Bulk)).count();
    assert!((288..=352).contains(&bulk), "a third of 960 frames, not {bulk}");
}

// Bounds.

#[test]
fn a_full_lane_gives_the_newcomer_back_and_bothers_no_other() {
    let mut queue = LaneQueue::new(LaneLimits { frames_per_lane: 2, bytes_per_lane: 100 });
    assert_eq!(queue.push(Lane::Bulk, 60, 1), Ok(()));
    assert_eq!(queue.push(Lane::Bulk, 41, 2), Err(2), "too many bytes");
    assert_eq!(queue.push(Lane::Bulk, 40, 3), Ok(()));
    assert_eq!(queue.push(Lane::Bulk, 0, 4), Err(4), "too many frames");
    assert_eq!(queue.push(Lane::High, 100, 5), Ok(()));
    assert_eq!(queue.push(Lane::High, usize::MAX, 6), Err(6));
    assert_eq!((queue.len(), queue.bytes()), (3, 200));
}

#[test]
fn notices_have_a_bound_of_their_own() {
    let mut queue = LaneQueue::new(LaneLimits { frames_per_lane: 2, bytes_per_lane: 100 });
    assert_eq!(queue.push_notice(50, 1), Ok(()));
    assert_eq!(queue.push_notice(50, 2), Ok(()));
    assert_eq!(queue.push_notice(0, 3), Err(3));
    assert_eq!(queue.push(Lane::Control, 100, 4), Ok(()));
}

#[test]
fn draining_gives_everything_in_order_and_leaves_nothing() {
    let mut queue = LaneQueue::new(ROOMY);
    for (lane, item) in [(Lane::Bulk, 5), (Lane::Control, 1), (Lane::Normal, 3), (Lane::Control, 2), (Lane::Normal, 4)] {
        queue.push(lane, 10, item).expect("room");
    }
    queue.push_notice(10, 0).expect("room");
    assert_eq!(queue.drain().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(queue.is_empty() && queue.bytes() == 0);
    assert_eq!(queue.push(Lane::Bulk, 10, 6), Ok(()));
    assert_eq!(queue.pop(Duration::ZERO), Some(6));
}

// Helpers.

#[derive(Debug, Clone, Copy)]
struct Step {
    class: Class,
    len: usize,
    pops: bool,
}

type Queue = LaneQueue<(Class, usize, usize)>;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = prop_oneof![1 => Just(Class::Notice), 20 => prop::sample::select(Lane::ALL.to_vec()).prop_map(Class::In)];
    let step = (class, 1usize..LARGEST, any::<bool>()).prop_map(|(class, len, pops)| {
        let len = if class == Class::In(Lane::Control) { len % limits::CONTROL_FRAME + 1 } else { len };
        Step { class, len, pops }
    });
    vec(step, 1..300)
}

fn push(queue: &mut Queue, step: &Step, number: usize) {
    let item = (step.class, number, step.len);
    let pushed = match step.class {
        Class::Notice => queue.push_notice(step.len, item),
        Class::In(lane) => queue.push(lane, step.len, item),
    };
    assert_eq!(pushed, Ok(()));
}

/// Pushes and pops by the steps, then pops the rest. The time between pops depends on `seed`.
fn play(steps: &[Step], seed: u64) -> (Vec<Popped>, usize) {
    let mut queue = Queue::new(ROOMY);
    let mut clock = seed;
    let mut at = Duration::ZERO;
    let mut popped = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        push(&mut queue, step, number);
        if step.pops {
            popped.extend(pop(&mut queue, at));
        }
        clock = clock.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        at += Duration::from_micros((clock >> 33) % 20_000);
    }
    while let Some(item) = pop(&mut queue, at) {
        popped.push(item);
        at += Duration::from_micros(500);
    }
    (popped, steps.len())
}

/// Pops `pops` times, `gap` microseconds apart, with frames of the given lengths always waiting in the given lanes.
fn flood(lanes: &[(Lane, usize)], gap: u64, pops: usize) -> Vec<Popped> {
    let mut queue = Queue::new(ROOMY);
    let mut at = Duration::ZERO;
    (0..pops)
        .map(|number| {
            for &(lane, len) in lanes {
                while queue.bytes_in(lane) < 2 * LARGEST {
                    let len = len.max(1);
                    queue.push(lane, len, (Class::In(lane), number, len)).expect("room");
                }
            }
            at += Duration::from_micros(gap);
            pop(&mut queue, at).expect("every lane is full")
        })
        .collect()
}

fn pop(queue: &mut Queue, at: Duration) -> Option<Popped> {
    let rest_waited = [Lane::High, Lane::Normal, Lane::Bulk].iter().any(|lane| queue.bytes_in(*lane) > 0);
    let (class, number, len) = queue.pop(at)?;
    Some(Popped { at, class, number, len, rest_waited })
}

fn bytes(popped: &[Popped]) -> usize {
    popped.iter().map(|item| item.len).sum()
}

fn share(popped: &[Popped], lanes: &[Lane]) -> f64 {
    let of_lanes: usize =
        popped.iter().filter(|item| lanes.iter().any(|lane| item.class == Class::In(*lane))).map(|item| item.len).sum();
    of_lanes as f64 / bytes(popped) as f64
}

/// In no window of 100 ms are control and urgent ahead by more than what the rest had saved up and a frame under way at each end.
fn assert_half_rule(popped: &[Popped]) -> Result<(), TestCaseError> {
    let slack = 3 * LARGEST as i64;
    for (start, first) in popped.iter().enumerate() {
        let mut ahead = 0i64;
        for item in popped[start..].iter().take_while(|item| item.at - first.at < limits::URGENT_WINDOW) {
            match item.class {
                Class::Notice => {}
                Class::In(Lane::Control | Lane::Urgent) if item.rest_waited => ahead += item.len as i64,
                Class::In(Lane::Control | Lane::Urgent) => {}
                Class::In(Lane::High | Lane::Normal | Lane::Bulk) => ahead -= item.len as i64,
            }
            prop_assert!(ahead <= slack, "{ahead} bytes ahead in the window from {:?} to {:?}", first.at, item.at);
        }
    }
    Ok(())
}
