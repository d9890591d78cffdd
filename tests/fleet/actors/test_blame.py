"""A person is at fault who fails on two sound actors, an actor whose people succeed elsewhere."""

from __future__ import annotations

from dtb.fleet.actors.blame import Blame


def test_who_fails_on_two_actors_is_at_fault_and_clears_the_first() -> None:
    blame = Blame()
    assert blame.raised("p", 1, "cannot")
    assert blame.has_failed_on("p", 1)
    assert not blame.has_failed_on("p", 2)
    assert not blame.raised("p", 2, "cannot either")
    assert blame.failed == {"p": "cannot either"}
    assert blame.newly_faulty([1, 2]) == []


def test_two_actors_of_one_node_may_share_a_fault_so_a_person_is_tried_on_another_node() -> None:
    blame = Blame()
    for key in ("p", "q", "r"):
        assert blame.raised(key, 1, "broken", "a", others=True)
        assert blame.raised(key, 2, "broken", "a", others=True)
        assert blame.has_failed_at(key, "a")
        assert not blame.has_failed_at(key, "b")
    assert blame.is_suspended(1)
    assert blame.is_suspended(2), "that they failed on the same node clears nobody"
    assert not blame.raised("p", 3, "broken", "b", others=True)
    assert not blame.is_suspended(1)
    assert not blame.is_suspended(2)
    for key in ("q", "r"):
        blame.succeeded(key, 3)
    assert blame.newly_faulty([1, 2, 3]) == [1, 2]
    assert blame.to_try_again() == ["p"]


def test_where_no_other_node_answers_the_tries_on_one_end() -> None:
    blame = Blame()
    assert blame.raised("alone", 1, "broken", "a", others=True)
    assert not blame.raised("alone", 2, "broken", "a"), "the other node is gone"
    again = [blame.raised("p", actor, "broken", "a", others=True) for actor in range(1, 5)]
    assert again == [True, True, True, False]


def test_an_actor_is_suspended_until_its_people_were_tried_elsewhere() -> None:
    blame = Blame()
    for key in ("p", "q", "r"):
        assert not blame.is_suspended(1)
        blame.raised(key, 1, "cannot")
    assert blame.is_suspended(1)
    blame.raised("p", 2, "cannot")
    assert not blame.is_suspended(1)


def test_an_actor_is_faulty_once_two_of_its_people_succeed_elsewhere() -> None:
    blame = Blame()
    for key in ("p", "q"):
        blame.raised(key, 1, "cannot")
        blame.succeeded(key, 2)
    assert blame.newly_faulty([1, 2]) == [1]
    assert blame.newly_faulty([1, 2]) == []


def test_people_who_failed_on_faulty_actors_are_acquitted() -> None:
    blame = Blame()
    blame.raised("p", 1, "broken")
    assert not blame.raised("p", 2, "broken, too")
    for key in ("q", "r"):
        blame.raised(key, 2, "broken")
        blame.succeeded(key, 3)
    assert blame.newly_faulty([1, 2, 3]) == [2]
    assert blame.to_try_again() == ["p"]
    assert blame.failed == {}
    assert not blame.raised("p", 3, "cannot")
    assert blame.failed == {"p": "cannot"}


def test_failures_between_successes_suspend_nobody() -> None:
    blame = Blame()
    for number in range(20):
        blame.raised(f"bad{number}", 1, "cannot")
        blame.succeeded(f"good{number}", 1)
    assert not blame.is_suspended(1)
