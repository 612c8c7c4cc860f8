//! When a link is doubted, given up and made again.

use super::*;
use crate::agent::limits::BACKOFF_MIN;
use crate::proto::{BindingKind, RejectCode};

const PING_SECONDS: u16 = 20;

/// A link with its clock, and what it wants done.
struct Bench {
    link: Link,
    now: Now,
    random: Random,
}

impl Bench {
    /// A link that is up, and could be at so many other addresses.
    fn up(others: usize) -> Self {
        let now = Now { monotonic: Duration::from_secs(100), wall: 1_790_000_000_000 };
        let mut bench = Self { link: Link::new(stranger(), now), now, random: Random::from_seed([1; 32]) };
        bench.greet(others);
        bench.hear(ServerFrame::Welcome(welcome()));
        assert!(bench.link.is_up() && bench.commands().is_empty());
        bench
    }

    /// Connects, up to the Challenge.
    fn greet(&mut self, others: usize) {
        self.link.handle_timeout(self.now, &mut self.random);
        assert_eq!(self.commands(), [Command::Connect { any_certificate: false }]);
        let address = "ws://127.0.0.1:1".to_owned();
        let connected = Connected { binding: Binding::None, address, pin: None, vouched: false, others };
        self.link.handle_connected(connected, self.now);
        self.hear(ServerFrame::Challenge(challenge()));
    }

    fn hear(&mut self, frame: ServerFrame) -> LinkInput {
        self.link.handle_frame(frame.encode(), self.now, &mut self.random)
    }

    fn notices(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.link.poll_notice()).collect()
    }

    fn wait(&mut self, time: Duration) -> LinkInput {
        self.now.monotonic += time;
        self.now.wall += u64::try_from(time.as_millis()).unwrap();
        self.link.handle_timeout(self.now, &mut self.random)
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.link.poll_command()).collect()
    }

    fn due_in(&self) -> Duration {
        self.link.poll_timeout().unwrap() - self.now.monotonic
    }
}

#[test]
fn a_silent_link_is_probed_and_given_up_within_two_pings_of_the_switchboard() {
    let mut bench = Bench::up(0);
    let quiet = bench.due_in();
    bench.wait(quiet);
    assert_eq!(bench.commands(), [Command::Ping]);
    let probe = bench.due_in();
    assert!(matches!(bench.wait(probe), LinkInput::Down { error: LinkError::Silent(silence), .. } if silence == quiet + probe));
    assert_eq!(bench.commands(), [Command::Disconnect]);
    assert!(quiet > Duration::from_secs(PING_SECONDS.into()) && quiet + probe < 2 * Duration::from_secs(PING_SECONDS.into()));
}

#[test]
fn a_pong_answers_a_probe_and_tells_the_round_trip() {
    let mut bench = Bench::up(0);
    bench.wait(bench.due_in());
    assert_eq!(bench.commands(), [Command::Ping]);
    bench.wait(Duration::from_millis(70));
    bench.link.handle_pong(bench.now);
    assert!(matches!(bench.wait(PROBE_TIMEOUT), LinkInput::Nothing));
    assert!(bench.commands().is_empty() && bench.link.is_up());
    assert_eq!(bench.link.round_trip(), Some(Duration::from_millis(70)));
}

#[test]
fn what_else_is_heard_may_be_older_than_the_doubt_and_only_lengthens_a_probe() {
    let mut bench = Bench::up(0);
    bench.wait(bench.due_in());
    bench.commands();
    bench.wait(PROBE_TIMEOUT / 2);
    bench.link.handle_heard(bench.now);
    assert_eq!(bench.due_in(), PROBE_TIMEOUT);
    assert!(matches!(bench.wait(PROBE_TIMEOUT), LinkInput::Down { error: LinkError::Silent(PROBE_TIMEOUT), .. }));
}

#[test]
fn the_answer_to_a_ping_from_before_a_change_of_the_path_leads_to_another_ping() {
    let mut bench = Bench::up(0);
    bench.link.handle_path_change(PathChange::Unsure, bench.now);
    bench.link.handle_path_change(PathChange::Unsure, bench.now);
    assert_eq!(bench.commands(), [Command::Ping]);
    bench.link.handle_pong(bench.now);
    assert_eq!(bench.commands(), [Command::Ping]);
    assert!(matches!(bench.wait(PROBE_TIMEOUT), LinkInput::Down { error: LinkError::Silent(PROBE_TIMEOUT), .. }));
}

#[test]
fn a_machine_that_slept_probes_its_link_and_one_that_is_merely_late_does_not() {
    let mut bench = Bench::up(0);
    bench.wait(Duration::from_secs(10));
    assert!(bench.commands().is_empty());
    bench.now.wall += 3_600_000;
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.commands(), [Command::Ping]);
    assert!(matches!(bench.wait(PROBE_TIMEOUT), LinkInput::Down { .. }));
}

#[test]
fn a_clock_that_is_set_back_changes_nothing() {
    let mut bench = Bench::up(0);
    bench.now.wall -= 3_600_000;
    bench.wait(Duration::from_millis(1));
    assert!(bench.commands().is_empty());
}

#[test]
fn a_lost_path_leads_to_a_new_link_without_a_pause() {
    let mut bench = Bench::up(0);
    let down = bench.link.handle_path_change(PathChange::Lost, bench.now);
    assert!(matches!(down, LinkInput::Down { error: LinkError::NetworkChanged, retry_in: Duration::ZERO }));
    bench.wait(Duration::ZERO);
    assert_eq!(bench.commands(), [Command::Disconnect, Command::Connect { any_certificate: false }]);
}

#[test]
fn an_unsure_path_makes_a_link_prove_itself_once() {
    let mut bench = Bench::up(0);
    for _ in 0..3 {
        assert!(matches!(bench.link.handle_path_change(PathChange::Unsure, bench.now), LinkInput::Nothing));
    }
    assert_eq!(bench.commands(), [Command::Ping]);
    assert_eq!(bench.due_in(), PROBE_TIMEOUT);
}

#[test]
fn an_attempt_on_the_old_network_is_made_anew() {
    let mut bench = Bench::up(0);
    bench.link.handle_path_change(PathChange::Lost, bench.now);
    bench.wait(Duration::ZERO);
    bench.commands();
    bench.link.handle_path_change(PathChange::Unsure, bench.now);
    bench.wait(Duration::ZERO);
    assert_eq!(bench.commands(), [Command::Disconnect, Command::Connect { any_certificate: false }]);
}

#[test]
fn a_network_that_comes_back_ends_the_pause_but_not_the_one_that_a_switchboard_asked_for() {
    let mut bench = Bench::up(0);
    for _ in 0..10 {
        bench.link.handle_down(LinkError::Lost("gone".to_owned()), bench.now, &mut bench.random);
        bench.wait(bench.due_in());
    }
    bench.link.handle_down(LinkError::Lost("gone".to_owned()), bench.now, &mut bench.random);
    assert!(bench.due_in() > BACKOFF_MIN);
    bench.link.handle_path_change(PathChange::Unsure, bench.now);
    assert_eq!(bench.due_in(), Duration::ZERO);

    bench.commands();
    bench.greet(0);
    bench.hear(reject(RejectCode::Rate, 30_000));
    bench.link.handle_path_change(PathChange::Unsure, bench.now);
    assert_eq!(bench.due_in(), Duration::from_secs(30));
}

#[test]
fn a_refusal_leads_to_each_other_switchboard_at_once_and_then_to_a_pause() {
    let mut bench = Bench::up(2);
    bench.link.handle_path_change(PathChange::Lost, bench.now);
    bench.commands();
    for _ in 0..2 {
        bench.greet(2);
        assert!(matches!(bench.hear(reject(RejectCode::Full, 5_000)), LinkInput::Down { retry_in: Duration::ZERO, .. }));
        assert_eq!(bench.commands(), [Command::Disconnect, Command::PreferOthers]);
    }
    bench.greet(2);
    assert!(
        matches!(bench.hear(reject(RejectCode::Full, 5_000)), LinkInput::Down { retry_in, .. } if retry_in >= Duration::from_secs(5))
    );
    assert_eq!(bench.commands(), [Command::Disconnect]);
}

#[test]
fn an_invite_may_be_known_at_another_switchboard() {
    let mut bench = Bench::up(1);
    bench.link.relink(stranger(), bench.now);
    bench.commands();
    bench.greet(1);
    assert!(matches!(bench.hear(reject(RejectCode::UnknownMailbox, 0)), LinkInput::Down { .. }));
    bench.commands();
    bench.greet(1);
    assert!(matches!(bench.hear(reject(RejectCode::UnknownMailbox, 0)), LinkInput::Over(Some(_))));
}

#[test]
fn one_that_shuts_down_leads_to_the_next_at_once() {
    let mut bench = Bench::up(1);
    let down = bench.hear(ServerFrame::Goodbye(GoodbyeReason::ShuttingDown));
    assert!(matches!(down, LinkInput::Down { retry_in: Duration::ZERO, .. }));
    assert_eq!(bench.commands(), [Command::Disconnect, Command::PreferOthers]);
}

#[test]
fn what_was_received_is_acknowledged_before_goodbye() {
    let goodbye = ClientFrame::Goodbye(GoodbyeReason::Closing).encode();
    for received in 0..2 {
        let mut bench = Bench::up(0);
        let resumable = Welcome { features: Features::RESUME, resume_token: Bytes::from_static(b"token"), ..welcome() };
        bench.link.ledger.handle_welcome(&resumable).unwrap();
        bench.notices();
        (0..received).for_each(|_| assert_eq!(bench.link.ledger.handle_data(100, bench.now.monotonic), None));
        bench.link.close();
        let ack = (received > 0).then(|| ClientFrame::LinkAck { received }.encode());
        assert_eq!(bench.notices(), ack.into_iter().chain([goodbye.clone()]).collect::<Vec<_>>());
    }
}

fn stranger() -> Credentials {
    let key = LinkKeyPair::from_seed(&[2; 32]);
    Credentials { routing: RoutingKey::ZERO, role: Role::Stranger { mailbox: key.label() }, key }
}

fn challenge() -> Challenge {
    let (version_min, version_max) = (VERSION, VERSION);
    Challenge { version_min, version_max, features: Features(0), wall: 0, binding: BindingKind::None, nonce: [3; 32] }
}

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        features: Features(0),
        wall: 0,
        binding: BindingKind::None,
        ping_seconds: PING_SECONDS,
        grace_seconds: 0,
        resume_token: Bytes::new(),
        resumed: None,
        boot: None,
    }
}

fn reject(code: RejectCode, retry_after_ms: u32) -> ServerFrame {
    ServerFrame::Reject(Reject { code, retry_after_ms, text: "no".to_owned() })
}
