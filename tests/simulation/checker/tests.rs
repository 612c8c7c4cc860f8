//! A checker that finds nothing proves nothing: each rule against a history that breaks it, and against the nearest one that doesn't.

use std::time::Duration;

use a2alinker::proto::Lane;

use super::*;

const CALM: Duration = Duration::from_secs(100);
const END: Duration = Duration::from_secs(400);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn path() -> Path {
    Path { from: 0, to: 1, lane: Lane::Normal, thread: 1 }
}

/// Sent at second 1, to be delivered within the hour.
fn sent(message: Uid) -> (u64, Who, What) {
    (1, 0, What::Sent { message, path: path(), expires: at(3_600), until_done: false })
}

fn sent_until(message: Uid, expires: u64, until_done: bool) -> (u64, Who, What) {
    (1, 0, What::Sent { message, path: path(), expires: at(expires), until_done })
}

fn handed(second: u64, message: Uid) -> (u64, Who, What) {
    (second, 1, What::Handed { message, path: path(), intact: true, repeated: false })
}

fn receipt(second: u64, message: Uid, state: State) -> (u64, Who, What) {
    (second, 0, What::Receipt { message, state })
}

fn verdict(records: &[(u64, Who, What)]) -> Result<(), &'static str> {
    let mut history = History::default();
    records.iter().for_each(|(second, who, what)| history.add(at(*second), *who, what.clone()));
    check(&history, Span { calm: CALM, end: END }).map_err(|violation| violation.rule)
}

#[test]
fn a_history_that_keeps_every_promise_passes() {
    let records = [
        sent(1),
        sent_until(2, 5, false),
        sent_until(3, 3_600, true),
        handed(2, 1),
        receipt(3, 1, State::Unknown),
        receipt(4, 1, State::Delivered),
        receipt(5, 2, State::Expired),
        handed(6, 3),
        receipt(7, 3, State::Delivered),
        (8, 1, What::Handled { message: 3 }),
        receipt(9, 3, State::Done),
    ];
    assert_eq!(verdict(&records), Ok(()));
}

#[test]
fn a_message_that_comes_twice_is_found() {
    let records = [sent(1), handed(2, 1), receipt(3, 1, State::Delivered), handed(200, 1)];
    assert_eq!(verdict(&records), Err("delivered twice"));
}

#[test]
fn an_earlier_message_after_a_later_one_is_found_on_one_path_only() {
    let records = [sent(1), sent(2), handed(2, 2), handed(3, 1)];
    assert_eq!(verdict(&records), Err("out of order"));
    let other = Path { thread: 2, ..path() };
    let records = [
        sent(1),
        (1, 0, What::Sent { message: 2, path: other, expires: at(3_600), until_done: false }),
        (2, 1, What::Handed { message: 2, path: other, intact: true, repeated: false }),
        handed(3, 1),
        receipt(4, 1, State::Delivered),
        receipt(4, 2, State::Delivered),
    ];
    assert_eq!(verdict(&records), Ok(()));
}

#[test]
fn a_gap_is_no_disorder() {
    let records =
        [sent_until(1, 2, false), sent(2), receipt(3, 1, State::Expired), handed(4, 2), receipt(5, 2, State::Delivered)];
    assert_eq!(verdict(&records), Ok(()));
}

#[test]
fn a_message_from_elsewhere_or_with_another_body_is_found() {
    let other = Path { from: 2, ..path() };
    assert_eq!(
        verdict(&[sent(1), (2, 1, What::Handed { message: 1, path: other, intact: true, repeated: false })]),
        Err("redirected")
    );
    assert_eq!(
        verdict(&[sent(1), (2, 1, What::Handed { message: 1, path: path(), intact: false, repeated: false })]),
        Err("changed")
    );
    assert_eq!(verdict(&[handed(2, 1)]), Err("made up"));
}

#[test]
fn lateness_is_measured_against_what_the_receiver_could_know() {
    let late = [sent_until(1, 10, false), handed(20, 1), receipt(21, 1, State::Delivered)];
    assert_eq!(verdict(&late), Err("delivered too late"));
    let slow = (5, 1, What::Greeted { from: 0, took: at(9) });
    assert_eq!(verdict(&[&[slow][..], &late].concat()), Ok(()));
    let of_another = (5, 1, What::Greeted { from: 2, took: at(9) });
    assert_eq!(verdict(&[&[of_another][..], &late].concat()), Err("delivered too late"));
}

#[test]
fn silence_about_a_message_is_found_unless_its_sender_died() {
    assert_eq!(verdict(&[sent_until(1, 10, false)]), Err("never settled"));
    assert_eq!(verdict(&[sent(1)]), Err("never arrived"));
    assert_eq!(verdict(&[sent_until(1, 10, false), (5, 0, What::Ended)]), Ok(()));
    assert_eq!(verdict(&[sent(1), (5, 1, What::Ended)]), Ok(()), "it waits for a receiver that is gone");
    let half_done = [sent_until(1, 3_600, true), handed(2, 1), receipt(3, 1, State::Delivered)];
    assert_eq!(verdict(&half_done), Err("never arrived"), "delivery was not all that was asked for");
}

#[test]
fn giving_up_while_there_is_time_is_found() {
    let records = [sent_until(1, 390, false), receipt(390, 1, State::Expired)];
    assert_eq!(verdict(&records), Err("given up"));
    let records = [sent_until(1, 240, false), receipt(240, 1, State::Expired)];
    assert_eq!(verdict(&records), Ok(()), "the network came to rest too late for this one");
    assert_eq!(verdict(&[sent_until(1, 90, false), receipt(50, 1, State::Expired)]), Err("expired early"));
}

#[test]
fn receipts_that_say_what_is_not_so_are_found() {
    assert_eq!(verdict(&[sent(1), receipt(2, 1, State::Delivered)]), Err("claimed delivered"));
    let done = [sent_until(1, 3_600, true), handed(2, 1), receipt(3, 1, State::Done)];
    assert_eq!(verdict(&done), Err("claimed done"));
    let refused = [sent_until(1, 3_600, true), handed(2, 1), receipt(3, 1, State::Refused)];
    assert_eq!(verdict(&refused), Err("claimed refused"));
}

#[test]
fn what_arrives_and_waits_until_it_is_too_late_was_delivered_all_the_same() {
    let records =
        [sent(1), sent_until(2, 5, false), receipt(4, 2, State::Delivered), handed(20, 1), receipt(21, 1, State::Delivered)];
    assert_eq!(verdict(&records), Ok(()));
}

#[test]
fn receipts_never_take_anything_back() {
    let delivered = [sent(1), handed(2, 1), receipt(3, 1, State::Delivered)];
    for state in [State::Unknown, State::Delivered, State::Expired, State::Done] {
        assert_eq!(verdict(&[&delivered[..], &[receipt(4, 1, state)]].concat()), Err("receipt went backwards"), "{state:?}");
    }
}

/// Runs 1 and 3 are of one agent.
fn verdict_of_restart(records: &[(u64, Who, What)]) -> Result<(), &'static str> {
    let mut history = History { persons: vec![0, 1, 2, 1], ..History::default() };
    records.iter().for_each(|(second, who, what)| history.add(at(*second), *who, what.clone()));
    check(&history, Span { calm: CALM, end: END }).map_err(|violation| violation.rule)
}

#[test]
fn a_second_run_may_get_again_what_the_first_may_have_lost_and_nothing_else() {
    let again = |repeated| (20, 3, What::Handed { message: 1, path: Path { to: 3, ..path() }, intact: true, repeated });
    let (died, delivered) = ((10, 1, What::Ended), |second| receipt(second, 1, State::Delivered));
    assert_eq!(verdict_of_restart(&[sent(1), handed(2, 1), died.clone(), again(true), delivered(21)]), Ok(()));
    assert_eq!(verdict_of_restart(&[sent(1), handed(2, 1), died.clone(), again(false)]), Err("delivered twice"), "unmarked");
    let confirmed = [sent(1), handed(2, 1), delivered(3), died.clone(), again(true)];
    assert_eq!(verdict_of_restart(&confirmed), Err("delivered twice"), "it was confirmed");
    assert_eq!(verdict_of_restart(&[sent(1), died.clone(), again(false), delivered(21)]), Ok(()), "the first never had it");
    let given_up = [sent_until(1, 19, false), handed(2, 1), died.clone(), receipt(19, 1, State::Expired), again(true)];
    assert_eq!(verdict_of_restart(&given_up), Ok(()), "it was on its way when its sender gave it up");
    assert_eq!(verdict_of_restart(&[sent(1), died]), Err("never arrived"), "the second run waits for it");
}

fn called() -> Vec<(u64, Who, What)> {
    vec![
        (1, 0, What::Called { call: 9 }),
        (1, 0, What::Moved { call: 9, to: 1, attempt: 1 }),
        (2, 1, What::Requested { call: 9, from: 0, attempt: 1, intact: true }),
    ]
}

fn answered(from: Who, attempt: u32) -> (u64, Who, What) {
    (5, 0, What::Answered { call: 9, from, worker: from, attempt, intact: true })
}

fn moved_on() -> Vec<(u64, Who, What)> {
    let mut records = called();
    records.push((3, 0, What::Moved { call: 9, to: 2, attempt: 2 }));
    records.push((4, 2, What::Requested { call: 9, from: 0, attempt: 2, intact: true }));
    records
}

fn with(mut records: Vec<(u64, Who, What)>, more: &[(u64, Who, What)]) -> Vec<(u64, Who, What)> {
    records.extend_from_slice(more);
    records
}

#[test]
fn a_call_has_one_outcome() {
    let failed = || (6, 0, What::CallFailed { call: 9, error: String::new() });
    assert_eq!(verdict(&with(called(), &[answered(1, 1)])), Ok(()));
    assert_eq!(verdict(&with(called(), &[failed()])), Ok(()));
    assert_eq!(verdict(&called()), Err("no outcome"));
    assert_eq!(verdict(&with(called(), &[(3, 0, What::Ended)])), Ok(()));
    assert_eq!(verdict(&with(called(), &[(3, 0, What::Withdrawn { call: 9 })])), Ok(()));
    assert_eq!(verdict(&with(called(), &[answered(1, 1), failed()])), Err("two outcomes"));
    assert_eq!(verdict(&with(called(), &[(3, 0, What::Withdrawn { call: 9 }), answered(1, 1)])), Err("two outcomes"));
}

#[test]
fn only_the_newest_attempt_counts() {
    assert_eq!(verdict(&with(moved_on(), &[answered(2, 2)])), Ok(()));
    assert_eq!(verdict(&with(moved_on(), &[answered(1, 1)])), Err("answer of another"));
    assert_eq!(verdict(&with(called(), &[answered(3, 1)])), Err("answer of another"), "it was never asked");
    let lie = (5, 0, What::Answered { call: 9, from: 1, worker: 2, attempt: 1, intact: true });
    assert_eq!(verdict(&with(called(), &[lie])), Err("answer of another"));
    let same_attempt = (3, 0, What::Moved { call: 9, to: 2, attempt: 1 });
    assert_eq!(verdict(&with(called(), &[same_attempt])), Err("attempt not raised"));
}

#[test]
fn a_request_reaches_whom_it_was_given_to_and_once() {
    let again = (3, 1, What::Requested { call: 9, from: 0, attempt: 1, intact: true });
    assert_eq!(verdict(&with(called(), &[again])), Err("delivered twice"));
    let elsewhere = (3, 2, What::Requested { call: 9, from: 0, attempt: 1, intact: true });
    assert_eq!(verdict(&with(called(), &[elsewhere])), Err("redirected"));
}

#[test]
fn what_a_switchboard_keeps_is_a_hint_that_it_has_to_give_itself() {
    let kept = |second| (second, 0, What::Kept);
    let hints = |state| [sent(1), kept(2), receipt(2, 1, state), receipt(3, 1, State::Unknown)];
    let end = [handed(4, 1), receipt(5, 1, State::Delivered)];
    assert_eq!(verdict(&[&hints(State::Accepted)[..], &end].concat()), Ok(()));
    assert_eq!(verdict(&[&hints(State::Full)[..], &end].concat()), Err("claimed full"));
    assert_eq!(verdict(&[&[sent(1), kept(2), receipt(3, 1, State::Accepted)][..], &end].concat()), Err("claimed accepted"));
    let never_more = [sent_until(1, 50, false), kept(2), receipt(2, 1, State::Accepted)];
    assert_eq!(verdict(&never_more), Err("never settled"), "it is no end");
}

#[test]
fn a_receipt_that_comes_before_its_message_is_found() {
    let early = [sent(1), receipt(2, 1, State::Delivered), handed(3, 1)];
    assert_eq!(verdict(&early), Err("claimed delivered"));
    let waits = [sent(1), sent(2), receipt(2, 2, State::Delivered), handed(3, 1), handed(3, 2), receipt(4, 1, State::Delivered)];
    assert_eq!(verdict(&waits), Ok(()), "it was there, and waited for the one before it");
}

#[test]
fn a_later_run_gets_again_what_was_confirmed_only_out_of_an_envelope() {
    let again = |envelope: Option<u64>, repeated| {
        let mut history = History { persons: vec![0, 1, 1], ..History::default() };
        let mut records = vec![sent(2)];
        records.extend(envelope.map(|second| (second, 0, What::Enveloped { to: 1 })));
        records.extend([
            handed(2, 2),
            receipt(3, 2, State::Delivered),
            (4, 1, What::Ended),
            (5, 2, What::Handed { message: 2, path: Path { to: 2, ..path() }, intact: true, repeated }),
        ]);
        records.into_iter().for_each(|(second, who, what)| history.add(at(second), who, what));
        check(&history, Span { calm: CALM, end: END }).map_err(|violation| violation.rule)
    };
    assert_eq!(again(Some(1), true), Ok(()));
    assert_eq!(again(Some(1), false), Err("delivered twice"));
    assert_eq!(again(Some(0), true), Err("delivered twice"), "the envelope was there before the message");
    assert_eq!(again(None, true), Err("delivered twice"));
}
