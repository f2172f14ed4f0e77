"""The end of an epoch: metrics by the probabilities themselves, the best epoch's tables, and patience."""

import numpy as np
import pytest

from jaxbackprop.data import Texts
from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.predict.metrics import encoded
from jaxbackprop.fasttext.train.epochs import EpochMonitor, evaluate

TRAIN = Texts(("sun heat fire", "snow ice frost", "sun fire", "ice snow") * 10, (("warm",), ("cold",)) * 20)
OTHER = Texts(("sun ice", "snow", "fire heat", "nothing known"), (("warm",), ("cold",), ("cold", "warm"), ("warm",)))


def trained(**settings) -> TextClassifier:
    return TextClassifier.train(TRAIN, dim=6, bucket=50, lr=0.5, **settings)


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_loss_and_accuracy_are_those_of_the_probabilities(loss: str):
    classifier = trained(loss=loss)
    held_out, _ = encoded(classifier.model, [OTHER.tokens("__label__")])
    found_loss, found_accuracy = evaluate(classifier.model, held_out)
    names = [label.removeprefix("__label__") for label in classifier.labels]
    p = classifier.probabilities(OTHER.texts).astype(float)
    of = [[names.index(label) for label in labels] for labels in OTHER.labels]
    if loss in ("ova", "ns"):
        is_its = np.array([[k in labels for k in range(2)] for labels in of])
        losses = -np.log(np.where(is_its, p, 1 - p)).sum(1)
    else:
        losses = np.array([-np.log(row[labels]).mean() for row, labels in zip(p, of, strict=True)])
    assert found_loss == pytest.approx(losses.mean(), rel=1e-5)
    assert found_accuracy == np.mean([row.argmax() in labels for row, labels in zip(p, of, strict=True)])


def test_the_best_epochs_tables_are_kept():
    """Held-out labels are all wrong: the first epoch, which has learned least, is the best."""
    wrong = Texts(TRAIN.texts, (("cold",), ("warm",)) * 20)
    history = trained(valid=wrong, epoch=8, patience=2).history
    assert history is not None
    assert history.stopped_early
    assert len(history.epochs) == history.best.epoch + 2
    kept = trained(valid=wrong, epoch=8)
    assert kept.history is not None
    held_out, _ = encoded(kept.model, [wrong.tokens("__label__")])
    assert evaluate(kept.model, held_out) == (kept.history.best.valid_loss, kept.history.best.valid_accuracy)


def test_measuring_epochs_changes_no_bit():
    plain, measured = trained(epoch=4), trained(epoch=4, on_epoch=lambda epoch: None)
    assert np.array_equal(plain.get_input_matrix(), measured.get_input_matrix())
    assert measured.history is not None
    assert [epoch.epoch for epoch in measured.history.epochs] == [1, 2, 3, 4]
    assert measured.history.epochs[-1].loss < measured.history.epochs[0].loss


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="patience is 0"):
        EpochMonitor((), 0)
    with pytest.raises(ValueError, match="give valid as well"):
        trained(patience=2)
    with pytest.raises(ValueError, match="valid is 1"):
        trained(valid=1)
