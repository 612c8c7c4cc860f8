use super::*;

#[test]
fn opener_and_answer_give_both_sides_the_same_session() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (initiation, opener) = alice.open_to(&bob, &mut random);

    let opening = bob.receive(&opener).unwrap();
    assert_eq!((opening.sender(), opening.run(), opening.receiver_run()), (alice.id(), alice.run, bob.run));
    assert_eq!(opening.hello(), &alice.hello());
    let (mut at_bob, answer) = bob.answer(opening, &alice, &mut random);

    let answered = initiation.receive_answer(&answer).unwrap();
    assert_eq!((answered.run(), answered.hello()), (bob.run, &bob.hello()));
    let mut at_alice = initiation.establish(answered, &bob.chain).unwrap();

    assert_eq!((at_alice.id(), at_alice.initiator()), (at_bob.id(), at_bob.initiator()));
    for lane in Lane::ALL {
        let there = seal(&mut at_alice, lane, b"question");
        assert_eq!(at_bob.open(there).unwrap(), &b"question"[..]);
        let back = seal(&mut at_bob, lane, b"answer");
        assert_eq!(at_alice.open(back).unwrap(), &b"answer"[..]);
    }
}
