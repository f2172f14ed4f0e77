"""Which epoch is the best, and what a history looks like."""

from jaxbackprop.training.history import Epoch, History, best_of


def epoch(number: int, accuracy: float | None = None, loss: float | None = None) -> Epoch:
    return Epoch(number, 1.0 / number, 0.5, loss, accuracy, 0.1, 1000.0)


def test_the_best_epoch_has_most_right_then_the_smallest_loss_then_is_the_first():
    epochs = [epoch(1, 0.8, 0.1), epoch(2, 0.9, 0.7), epoch(3, 0.9, 0.5), epoch(4, 0.9, 0.5), epoch(5, 0.7, 0.01)]
    assert best_of(epochs).epoch == 3


def test_a_loss_that_is_not_a_number_is_never_better():
    assert best_of([epoch(1, 0.9, 0.5), epoch(2, 0.9, float("nan"))]).epoch == 1


def test_without_held_out_examples_the_last_epoch_is_kept():
    assert best_of([epoch(1), epoch(2), epoch(3)]).epoch == 3


def test_a_history_is_a_table():
    epochs = (epoch(1, 0.8, 0.25), epoch(2, 0.9, 0.2))
    assert str(History(epochs, epochs[1], False, 0.5)) == (
        "epoch      loss  accuracy  held-out loss  accuracy  examples/s\n"
        "    1    1.0000    50.00%         0.2500    80.00%       1,000\n"
        "    2    0.5000    50.00%         0.2000    90.00%       1,000  best"
    )
