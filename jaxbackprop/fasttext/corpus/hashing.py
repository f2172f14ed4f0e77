"""fastText's hash, over many byte strings at once: words, their character n-grams, and n-grams of words.

Source  FNV-1a, 32 bit (Fowler, Noll, Vo), each byte XORed as a sign-extended int8, as fastText's Dictionary::hash
"""

import numpy as np
import pyarrow as pa

from ...data.arrow_binary import buffers
from ...data.parallel import in_parallel

OFFSET_BASIS, PRIME = np.uint32(2166136261), np.uint32(16777619)
NGRAM_FACTOR = np.uint64(116049371)
SIGNED = np.arange(256, dtype=np.uint8).astype(np.int8).astype(np.uint32)  # each byte, sign-extended to 32 bits
FEW = 32  # pieces: of fewer each is hashed by itself
LONG = 1 << 11  # bytes that take as long one after another as all at once
CELLS = 1 << 20  # (character, n-gram length) pairs at a time: they stay in the cache


def extend(h: np.ndarray, data: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Hash states `h` (uint32) after the further bytes data[start : start + length], each its own piece."""
    h = h.copy()
    alive = np.flatnonzero(length > 0)
    step = 0
    while len(alive) > FEW:
        h[alive] = (h[alive] ^ SIGNED[data[start[alive] + step]]) * PRIME
        step += 1
        alive = alive[length[alive] > step]
    for k in alive.tolist():
        h[k] = extend_one(int(h[k]), data[start[k] + step : start[k] + length[k]].tobytes())
    return h


def extend_one(h: int, data: bytes) -> int:
    """One hash state after further bytes."""
    if len(data) > LONG:
        return _extend_long(h, np.frombuffer(data, np.uint8))
    for byte in data:
        h = (h ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
    return h


def _extend_long(h: int, data: np.ndarray) -> int:
    """`extend_one` as array arithmetic over the bytes.

    The low byte l of the state depends on nothing above it, and each bit of it is a sum modulo 2: that bit before, that
    bit of the data, and a function of the bits below. With l known at every byte, a step is affine modulo 2^32:
    h ^ s = h - l + (l ^ s) for a byte s without sign, and the complement of h ^ ~s for one with all upper bits set.
    """
    low = np.zeros(len(data) + 1, np.uint8)
    for k in range(8):
        bit, below = np.uint8(1 << k), np.uint8((1 << k) - 1)
        flips = np.empty(len(low), np.uint8)
        flips[0] = h & int(bit)
        flips[1:] = (data ^ ((low[:-1] ^ data) & below) * np.uint8(PRIME & 0xFF)) & bit
        low |= np.bitwise_xor.accumulate(flips)
    negative, before = data >= 128, low[:-1].astype(np.int32)
    added = np.where(negative, before - (before ^ (255 - data)) - 1, (before ^ data) - before).astype(np.uint32) * PRIME
    factor = np.where(negative, ~PRIME + np.uint32(1), PRIME)
    after = np.ones(len(data), np.uint32)  # the product of all further factors
    np.multiply.accumulate(factor[:0:-1], out=after[-2::-1])
    return (int(after[0]) * int(factor[0]) * h + int((added * after).sum(dtype=np.uint32))) & 0xFFFFFFFF


def fnv1a(words: pa.BinaryArray) -> np.ndarray:
    """The hash of each word, uint32."""
    data, offsets = buffers(words)
    return extend(np.full(len(words), OFFSET_BASIS), data, offsets[:-1], np.diff(offsets))


def signed_fnv1a_of(word: bytes) -> int:
    """The hash of one word as n-grams of words take it, with its sign."""
    h = extend_one(int(OFFSET_BASIS), word)
    return h - 2**32 if h >= 2**31 else h


def word_ngrams_of(hashes: np.ndarray, n: int, bucket: int) -> np.ndarray:
    """`word_ngrams` of one line of words with these signed hashes, (T,) int64: (G,) int32."""
    words = hashes.view(np.uint64)
    if n == 2:  # the common case
        return modulo(words[:-1] * NGRAM_FACTOR + words[1:], bucket)
    h, runs = words, np.empty((len(words), n - 1), np.uint64)
    for order in range(1, min(n, len(words))):
        h = h[:-1] * NGRAM_FACTOR + words[order:]
        runs[: len(h), order - 1] = h
    fits = np.arange(len(words))[:, None] < len(words) - np.arange(1, n)
    return modulo(runs[fits], bucket)


def word_ngrams(hashes: np.ndarray, starts: np.ndarray, n: int, bucket: int) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of all runs of 2 to `n` words that lie within one line, and how many begin at each word.

    For each word in turn its bigram, its trigram and so on:
    h = hash, sign-extended to 64 bits; then h = h * 116049371 + next hash; bucket h mod `bucket`.

    Args:
        hashes: (T,) uint32, the words of all lines one after another.
        starts: (T,) bool, whether a line starts at this word.

    Returns:
        (G,) int32 and (T,) int8 or wider.
    """
    words = hashes.view(np.int32).astype(np.int64).view(np.uint64)
    h, found, alive = words, [], np.ones(len(words), bool)
    for order in range(1, n):
        if order >= len(words):
            break
        alive = alive[: len(words) - order] & ~starts[order:]
        h = h[: len(words) - order] * NGRAM_FACTOR + words[order:]
        found.append((alive, modulo(h, bucket)))
    if not found:
        return np.zeros(0, np.int32), np.zeros(len(words), np.int32)
    if len(found) == 1:  # bigrams, the common case, need no interleaving
        alive, rows = found[0]
        return rows[alive], np.append(alive, np.zeros(len(words) - len(alive), bool)).astype(np.int32)
    valid = np.zeros((len(words), len(found)), bool)
    table = np.zeros((len(words), len(found)), np.int32)
    for k, (alive, rows) in enumerate(found):
        valid[: len(alive), k], table[: len(rows), k] = alive, rows
    return table[valid], valid.sum(1, dtype=np.int32)


def modulo(h: np.ndarray, bucket: int) -> np.ndarray:
    """h mod `bucket` as int32; numpy's division by one number is much faster than its remainder."""
    divisor = h.dtype.type(bucket)
    return (h - h // divisor * divisor).astype(np.int32)


def character_ngrams(
    words: pa.BinaryArray,
    minn: int,
    maxn: int,
    bucket: int,
    *,
    own: np.ndarray | None = None,
    cut: np.ndarray | None = None,
    base: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of the character n-grams of `<word>`, and how many each word has.

    For each character in turn its n-grams by length, minn to maxn; a single boundary character is left out.
    A character is a byte with the continuation bytes (10xxxxxx) after it, whether or not that is valid UTF-8.

    Args:
        own: (N,) a number that stands before a word's n-grams and is counted with them; none where it is negative.
        cut: (N,) bool, which words have n-grams; all if not given.
        base: what is added to each bucket.

    Returns:
        (G,) int32 and (N,) int32.
    """
    data, offsets = buffers(words)
    own = np.full(len(words), -1, np.int32) if own is None else own
    cut = np.ones(len(words), bool) if cut is None else cut
    cells = (offsets.astype(np.int64) + 2 * np.arange(len(offsets))) * max(maxn - minn + 1, 1)
    edges = np.searchsorted(cells, np.arange(cells[0], cells[-1] + CELLS, CELLS))
    spans = [(a, b) for a, b in zip(edges[:-1], np.minimum(edges[1:], len(words)), strict=True) if a < b]

    def of(span: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        a, b = span
        return _character_ngrams(data, offsets[a : b + 1], minn, maxn, bucket, own[a:b], cut[a:b], base)

    parts = list(in_parallel(of, spans) if len(spans) > 1 else map(of, spans))
    if not parts:
        return np.zeros(0, np.int32), np.zeros(len(words), np.int32)
    rows, counts = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(counts)


def character_ngrams_of(word: bytes, minn: int, maxn: int, bucket: int) -> list[int]:
    """`character_ngrams` of one short word: the buckets."""
    text = b"<" + word + b">"
    begins = [at for at, byte in enumerate(text) if byte & 0xC0 != 0x80] + [len(text)]
    last, found = len(begins) - 2, []
    for first in range(last + 1):
        h = int(OFFSET_BASIS)
        for end in range(first, min(first + maxn, last + 1)):
            h = extend_one(h, text[begins[end] : begins[end + 1]])
            if end - first + 1 >= minn and (end > first or 0 < first < last):
                found.append(h % bucket)
    return found


def _character_ngrams(
    data: np.ndarray,
    offsets: np.ndarray,
    minn: int,
    maxn: int,
    bucket: int,
    own: np.ndarray,
    cut: np.ndarray,
    base: int,
) -> tuple[np.ndarray, np.ndarray]:
    text, ends = _bracketed(data, offsets)
    starts = np.flatnonzero((text & 0xC0) != 0x80)  # where a character starts
    lengths = np.diff(starts, append=len(text))
    word_first = np.searchsorted(starts, ends[:-1])  # the character at which each word starts
    characters = np.diff(word_first, append=len(starts))
    left = np.repeat(word_first + characters, characters) - np.arange(len(starts))  # from here to the word's end
    if not cut.all():
        left[np.repeat(~cut, characters)] = 0

    orders = range(max(minn, 1), maxn + 1)
    valid = np.zeros((len(starts), 1 + len(orders)), bool)  # in front the word's own
    table = np.zeros((len(starts), 1 + len(orders)), np.int32)
    valid[word_first, 0], table[word_first, 0] = own >= 0, own
    counts = np.maximum(np.minimum(left, maxn) - (orders.start - 1), 0) + valid[:, 0]
    h = np.full(len(starts), OFFSET_BASIS)
    at, signed = np.arange(len(starts)), SIGNED[text]
    one_byte_each = len(starts) == len(text)  # then slices do, which are faster than indices
    for n in range(1, maxn + 1):
        if one_byte_each:
            alive = slice(0, max(len(text) - n + 1, 0))
            h[alive] = (h[alive] ^ signed[n - 1 :]) * PRIME
        else:
            alive = at = at[left[at] >= n]
            h[alive] = extend(h[alive], text, starts[alive + n - 1], lengths[alive + n - 1])
        if n in orders:
            column = 1 + n - orders.start
            valid[alive, column] = left[alive] >= n
            table[alive, column] = modulo(h[alive], bucket) + np.int32(base)
    if 1 in orders:
        boundary = np.concatenate([word_first, word_first + characters - 1])
        counts[boundary] -= valid[boundary, 1]
        valid[boundary, 1] = False
    return table[valid], np.add.reduceat(counts, word_first).astype(np.int32)


def _bracketed(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All words written as `<word>` one after another, and where each begins (and, last, where all end)."""
    n = len(offsets) - 1
    ends = offsets - offsets[0] + 2 * np.arange(n + 1)
    text = np.empty(ends[-1], np.uint8)
    inside = np.ones(len(text), bool)
    inside[ends[:-1]] = inside[ends[1:] - 1] = False
    text[inside] = data[offsets[0] : offsets[-1]]
    text[ends[:-1]], text[ends[1:] - 1] = ord("<"), ord(">")
    return text, ends
