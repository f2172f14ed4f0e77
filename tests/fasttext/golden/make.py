"""Writes the files of this folder with fastText 0.9.2 (`pip install fasttext-wheel==0.9.2`): small models, and what it
makes of them. `python make.py` writes them anew; its own training is repeatable with one thread.

predictions.json holds, for each model file: its words and labels; the probabilities of the five likeliest labels of
each text; the vectors of some words and texts; of word vectors the nearest words, and an analogy.
"""

import json
import random
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

fasttext: Any = import_module("fasttext")


HERE = Path(__file__).parent
WORDS = ["the", "crème", "brûlée", "oven", "日本", "knife", "salt", "bread", "a", "o'clock", "sugar-free", "<b>"]
TEXTS = ["the crème brûlée", "salt bread oven", "unheard words", "日本 knife a a a", "", "breads salted </s> oven"]
ASKED = ["the", "日本", "breads", "</s>", "unheard", ""]
ANALOGY = ["the", "oven", "unheard"]
MODELS = {
    "softmax.bin": {"loss": "softmax"},
    "hs.bin": {"loss": "hs", "wordNgrams": 2},
    "ns.bin": {"loss": "ns", "minn": 2, "maxn": 3},
    "ova.bin": {"loss": "ova", "wordNgrams": 3, "minn": 1, "maxn": 2},
    "prefix.bin": {"loss": "softmax", "label": "#"},
}
QUANTISED = {
    "plain.ftz": ({"wordNgrams": 2, "bucket": 300}, {}),
    "qnorm.ftz": ({"loss": "hs", "wordNgrams": 2, "bucket": 300, "dim": 5}, {"qnorm": True, "dsub": 3}),
    "cutoff.ftz": ({"wordNgrams": 2, "minn": 2, "maxn": 3, "bucket": 400, "dim": 3, "many": 80}, {"cutoff": 300}),
    "words.ftz": ({"dim": 3, "many": 300}, {"cutoff": 280}),
    "qout.ftz": ({"loss": "ova", "labels": 260, "dim": 3}, {"qnorm": True, "qout": True, "cutoff": 270}),
}


def train(label="__label__", labels=6, many=0, unsupervised=False, **settings):
    """A model of lines drawn at random, each of the wanted labels on at least one."""
    draw = random.Random(5)
    words = WORDS + [f"w{k}" for k in range(many or labels)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for k in range(max(3 * labels, many)):
            said = [words[k % len(words)], *draw.choices(words, k=draw.randint(1, 6))]
            file.write(" ".join(said if unsupervised else [f"{label}l{k % labels}", *said]) + "\n")
        file.flush()
        settings = {"dim": 4, "bucket": 40, "epoch": 20, "lr": 0.3, "thread": 1, "verbose": 0, **settings}
        if unsupervised:
            return fasttext.train_unsupervised(file.name, model="skipgram", minCount=1, **settings)
        return fasttext.train_supervised(file.name, label=label, **settings)


def answers(path):
    """What fastText makes of a model file."""
    model = fasttext.load_model(str(path))
    vectors = {
        "words asked": {word: model.get_word_vector(word).tolist() for word in ASKED},
        "words": model.words,
        "texts asked": [model.get_sentence_vector(text).tolist() for text in TEXTS],
    }
    if path.name == "skipgram.bin":
        neighbours = {word: model.get_nearest_neighbors(word, k=4) for word in ASKED}
        return vectors | {"neighbours": neighbours, "analogies": model.get_analogies(*ANALOGY, k=20)}
    return vectors | {
        "labels": model.labels,
        "predictions": [model.f.predict(text + "\n", 5, 0.0, "strict") for text in TEXTS],
    }


def main():
    """Write everything."""
    said = {}
    for name, settings in MODELS.items():
        train(**settings).save_model(str(HERE / name))
        said[name] = answers(HERE / name)
    for name, (settings, how) in QUANTISED.items():
        model = train(**settings)
        if name == "cutoff.ftz":
            model.save_model(str(HERE / "before_cutoff.bin"))
            said["before_cutoff.bin"] = answers(HERE / "before_cutoff.bin")
        model.quantize(**how)
        model.save_model(str(HERE / name))
        said[name] = answers(HERE / name)
    vectors = train(unsupervised=True, bucket=20)
    vectors.save_model(str(HERE / "skipgram.bin"))
    said["skipgram.bin"] = answers(HERE / "skipgram.bin")
    text = json.dumps({"texts": TEXTS, "models": said}, ensure_ascii=False, indent=None, separators=(",", ":"))
    (HERE / "predictions.json").write_text(text.replace('},"', '},\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    fasttext.FastText.eprint = lambda _: None
    main()
