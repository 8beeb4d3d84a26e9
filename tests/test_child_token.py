"""A token for one attempt of a call that has a token of its own."""

from __future__ import annotations

import gc
import threading
import weakref

from failsafe.deadline import CancelToken


def test_the_parent_cancels_its_children() -> None:
    parent = CancelToken()
    children = [parent.child(), parent.child()]
    heard: list[str] = []
    children[0].on_cancel(lambda: heard.append("cancelled"))
    parent.cancel()
    assert [child.cancelled for child in children] == [True, True]
    assert heard == ["cancelled"]


def test_a_child_of_a_cancelled_token_is_cancelled_from_the_start() -> None:
    parent = CancelToken()
    parent.cancel()
    child = parent.child()
    assert child.cancelled
    child.cancel()
    child.close()


def test_a_child_is_cancelled_alone() -> None:
    parent = CancelToken()
    one, other = parent.child(), parent.child()
    one.cancel()
    one.cancel()
    assert (parent.cancelled, one.cancelled, other.cancelled) == (False, True, False)
    assert len(parent._callbacks) == 1


def test_the_parent_forgets_a_child_whose_work_is_done() -> None:
    parent = CancelToken()
    with parent.child() as child:
        assert len(parent._callbacks) == 1
    assert parent._callbacks == {}
    child.close()
    parent.cancel()
    assert not child.cancelled
    watched = weakref.ref(child.event)
    del child
    gc.collect()
    assert watched() is None


def test_children_of_children_are_reached() -> None:
    parent = CancelToken()
    grandchild = parent.child().child()
    parent.cancel()
    assert grandchild.cancelled


def test_cancelling_the_parent_while_children_come_and_go_leaves_nothing_behind() -> None:
    for _ in range(200):
        parent, barrier = CancelToken(), threading.Barrier(3)
        late: list[bool] = []

        def work(parent: CancelToken = parent, barrier: threading.Barrier = barrier, late: list[bool] = late) -> None:
            barrier.wait(10)
            for _ in range(5):
                with parent.child() as child:
                    child.on_cancel(lambda: None)
            late.append(True)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        barrier.wait(10)
        parent.cancel()
        for thread in threads:
            thread.join(10)
        assert late == [True, True]
        assert parent._callbacks == {}
        assert parent.child().cancelled


def test_taking_a_callback_back_again_takes_back_no_other_one() -> None:
    """The memory of one that is gone, and so its identity, may soon belong to the next."""
    parent = CancelToken()
    heard = [threading.Event() for _ in range(50)]
    gone = [parent.on_cancel(event.set) for event in heard]
    for take_back in gone:
        take_back()
    for event in heard:
        parent.on_cancel(event.set)
    for take_back in gone:
        take_back()
    parent.cancel()
    assert all(event.is_set() for event in heard)
