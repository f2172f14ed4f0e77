"""On the docstrings a bag of words by hand is not below logistic regression on the same bags, both far above chance."""

import tempfile
from pathlib import Path

import numpy as np
from harness import report

NGRAMS, BUCKET = 2, 200_000


def bags_as_matrix(bags, rows: int):
    """Counts of each row in each text, sparse (N, rows): what the network pools."""
    from scipy.sparse import csr_matrix

    return csr_matrix((np.ones(len(bags.ids), np.float32), bags.ids, bags.offsets), (len(bags), rows))


def logistic_regression() -> dict[str, float]:
    """Test accuracy of scikit-learn's logistic regression, and of always answering the largest class."""
    from sklearn.linear_model import LogisticRegression

    from jaxbackprop.data import Texts, load
    from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary

    docstrings = load("docstrings")
    assert isinstance(docstrings.train, Texts)
    assert isinstance(docstrings.test, Texts)
    vocabulary = Vocabulary.build(docstrings.train, word_ngrams=NGRAMS, bucket=BUCKET)
    (x, y), (test, labels) = (
        (bags_as_matrix(vocabulary.encode(side), vocabulary.rows), vocabulary.encode_labels(side).ids)
        for side in (docstrings.train, docstrings.test)
    )
    model = LogisticRegression(max_iter=2000).fit(x, y)
    majority = np.bincount(y).argmax()
    return {
        "majority": float((labels == majority).mean()),
        "logistic regression": float(model.score(test, labels)),
    }


def measure() -> dict[str, float]:
    """Test accuracies, the network's as `jaxbackprop train text` trains it."""
    import json
    import subprocess
    import sys

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "jaxbackprop", "train", "text", "--out", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        network = json.loads((run / "test.json").read_text())["accuracy"]
    return {**logistic_regression(), "bag of words by hand": network}


def claim(measured: dict[str, float]) -> None:
    assert measured["bag of words by hand"] >= measured["logistic regression"]
    assert measured["bag of words by hand"] >= 2 * measured["majority"]


if __name__ == "__main__":
    report(measure, claim)
