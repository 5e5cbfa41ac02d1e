"""Work beside training: in order, complete when waited for, and its errors come back."""

import threading

import pytest

from coral_mtl.diagnostics.background import WAITING, Background


def test_work_is_done_in_order_on_another_thread():
    background, done = Background(), []
    for number in range(3 * WAITING):
        background.do(lambda number=number: done.append((number, threading.current_thread())))
    background.wait()
    assert [number for number, _ in done] == list(range(3 * WAITING))
    assert {thread for _, thread in done} == {done[0][1]} != {threading.current_thread()}
    background.close()
    assert not done[0][1].is_alive()


def test_waiting_waits_for_what_has_begun():
    background, may_end, done = Background(), threading.Event(), []
    background.do(lambda: (may_end.wait(5), done.append("late")))
    threading.Timer(0.05, may_end.set).start()
    background.wait()
    assert done == ["late"]
    background.close()


@pytest.mark.parametrize("call", ["wait", "close", "do"])
def test_an_error_comes_back_once_and_what_is_behind_it_is_not_done(call):
    background, done = Background(), []

    def fail():
        raise ValueError("disk full")

    background.do(fail)
    if call == "do":
        background._queue.join()
    else:
        background.do(lambda: done.append("behind"))
    with pytest.raises(ValueError, match="disk full"):
        getattr(background, call)(*[lambda: done.append("next")] * (call == "do"))
    assert done == []
    background.do(lambda: done.append("again"))
    background.close()
    assert done == ["again"]


def test_closing_without_work_does_nothing_and_a_closed_one_begins_anew():
    background, done = Background(), []
    background.close()
    background.wait()
    for _ in range(2):
        background.do(lambda: done.append(1))
        background.close()
    assert done == [1, 1]
