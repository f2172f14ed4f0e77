"""A small labelled text that is easy to learn: the topics share no word but a few."""

import random
from pathlib import Path

TOPICS = {
    "weather": "sun rain snow wind cloud storm frost heat".split(),
    "food": "bread soup rice salt bean onion apple fish".split(),
    "music": "drum song flute chord tune opera violin rhythm".split(),
}


def write_lines(path: Path, lines: int = 120, seed: int = 0) -> Path:
    """Write lines such as `__label__food soup the bread of`."""
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(lines):
            topic = rng.choice(list(TOPICS))
            words = [rng.choice(["the", "of", *TOPICS[topic]]) for _ in range(6)] + [rng.choice(TOPICS[topic])]
            file.write(f"__label__{topic} {' '.join(words)}\n")
    return path
