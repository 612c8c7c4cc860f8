"""The order in which a program gets its messages: urgent first within its half, the others 8:4:2."""

from collections import Counter

from a2alinker._lanes import SAVED_UP, WINDOW, Lanes
from swarms import pair, until

URGENT, HIGH, NORMAL, BULK = 1, 2, 3, 4


def filled(messages: dict[int, int], clock: list[float]) -> Lanes:
    lanes = Lanes(lambda: clock[0])
    for lane, count in messages.items():
        for number in range(count):
            lanes.put(lane, (lane, number))
    return lanes


def taken(lanes: Lanes, count: int) -> list[tuple[int, ...]]:
    events = [lanes.take() for _ in range(count)]
    return [event for event in events if event is not None]


def test_urgent_comes_first_and_alone_takes_all() -> None:
    lanes = filled({URGENT: 100}, [0.0])
    assert taken(lanes, 101) == [(URGENT, number) for number in range(100)]
    lanes = filled({NORMAL: 5, URGENT: 1}, [0.0])
    assert lanes.take() == (URGENT, 0)


def test_a_flood_of_urgent_messages_leaves_half_to_the_others() -> None:
    lanes = filled({URGENT: 1000, BULK: 1000}, [0.0])
    first = Counter(lane for lane, _ in taken(lanes, 100))
    assert first[BULK] >= 50 - SAVED_UP
    assert first[URGENT] >= 50


def test_a_burst_of_urgent_messages_goes_ahead_of_others_that_had_their_turn() -> None:
    lanes = filled({NORMAL: 100}, [0.0])
    taken(lanes, 50)
    for number in range(SAVED_UP):
        lanes.put(URGENT, (URGENT, number))
    assert [lane for lane, _ in taken(lanes, SAVED_UP)] == [URGENT] * SAVED_UP


def test_a_slow_reader_gets_each_urgent_message_at_once() -> None:
    clock = [0.0]
    lanes = filled({URGENT: 5, NORMAL: 5}, clock)
    order = []
    for _ in range(5):
        order += [lane for lane, _ in taken(lanes, 1)]
        clock[0] += 2 * WINDOW
    assert order == [URGENT] * 5


def test_the_others_share_eight_to_four_to_two_and_none_starves() -> None:
    lanes = filled({HIGH: 800, NORMAL: 800, BULK: 800}, [0.0])
    assert Counter(lane for lane, _ in taken(lanes, 140)) == {HIGH: 80, NORMAL: 40, BULK: 20}


def test_each_lane_keeps_its_order_and_loses_nothing() -> None:
    lanes = filled({URGENT: 40, HIGH: 30, NORMAL: 20, BULK: 10}, [0.0])
    everything = taken(lanes, 1000)
    assert len(everything) == 100
    for lane in (URGENT, HIGH, NORMAL, BULK):
        numbers = [number for of, number in everything if of == lane]
        assert numbers == sorted(numbers)
    assert len(lanes) == 0


def test_what_is_not_wanted_any_more_is_taken_out() -> None:
    lanes = filled({NORMAL: 3}, [0.0])
    assert lanes.remove(lambda event: event == (NORMAL, 1))
    assert not lanes.remove(lambda event: event == (NORMAL, 1))
    assert taken(lanes, 3) == [(NORMAL, 0), (NORMAL, 2)]


async def test_a_program_that_was_busy_gets_high_messages_ahead_of_bulk() -> None:
    async with pair() as (host, worker):
        for number in range(100):
            await host.send(worker.name, number, priority="bulk")
        for number in range(100):
            await host.send(worker.name, number, priority="high")
        await host.send(worker.name, "now", priority="urgent")
        await until(lambda: worker.health()["inbox"] == 201)
        got = []
        async for message in worker:
            got.append((message.priority, message.body))
            if len(got) == 201:
                break
        assert got[0] == ("urgent", "now")
        assert sum(priority == "high" for priority, _ in got[:50]) >= 35
        assert [body for priority, body in got if priority == "bulk"] == list(range(100))


async def test_credit_comes_back_for_each_lane_however_they_are_mixed() -> None:
    count = 10_000  # half of them are more than what a sender may have under way in a lane
    async with pair() as (host, worker):
        for number in range(count):
            await host.send(worker.name, number, priority="high" if number % 2 else "bulk")
        await host.send(worker.name, "last", priority="bulk")
        seen: dict[str, list[int]] = {"high": [], "bulk": []}
        async for message in worker:
            if message.body == "last":
                break
            seen[message.priority].append(message.body)
        assert seen["bulk"] == list(range(0, count, 2))
        assert seen["high"] == sorted(seen["high"])
