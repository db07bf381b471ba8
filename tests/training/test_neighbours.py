"""An alike neighbour beside the object, and neighbours that are finished already."""

from __future__ import annotations

import numpy as np

from nseg_lib.training.neighbours import finished, paste_twin

MASK = np.zeros((120, 160), bool)
MASK[40:70, 60:90] = True
IMAGE = np.where(MASK[..., None], (250, 10, 10), (10, 10, 60)).astype(np.uint8)


def test_what_is_pasted_looks_like_the_object_and_hides_no_more_than_is_told() -> None:
    pasted = [paste_twin(IMAGE, MASK, np.random.default_rng(key)) for key in range(40)]
    kept = [each for each in pasted if each is not None]
    assert len(kept) > 20
    assert any((each.mask != MASK).any() for each in kept), "sometimes it comes in front"
    for each in kept:
        assert not (each.mask & each.twin).any()
        assert (each.mask <= MASK).all()
        untouched = ~(each.twin | MASK)
        changed = (each.image != IMAGE).any(axis=-1)
        assert (changed & untouched).sum() < 0.5 * each.twin.sum(), "a soft edge at most"
        assert each.image[each.twin][:, 0].mean() > 150, "as red as the object"
    again = paste_twin(IMAGE, MASK, np.random.default_rng(0))
    assert again is not None
    assert pasted[0] is not None
    assert (again.image == pasted[0].image).all()


def test_an_object_that_leaves_no_room_is_left_alone() -> None:
    whole = np.ones((100, 100), bool)
    assert paste_twin(np.zeros((100, 100, 3), np.uint8), whole, np.random.default_rng(0)) is None


def test_finished_neighbours_are_near_and_take_nothing_of_the_object() -> None:
    beside, over, far = np.zeros((3, *MASK.shape), bool)
    beside[40:70, 92:110] = over[60:80, 60:90] = far[5:10, 5:10] = True
    walls = [finished(MASK, (beside, over, far), np.random.default_rng(key)) for key in range(30)]
    assert not any((wall & (MASK | far)).any() for wall in walls)
    shares = [np.mean([wall[part].any() for wall in walls]) for part in (beside, over & ~MASK)]
    assert all(0.4 < share < 1 for share in shares), "some of them, by chance"
