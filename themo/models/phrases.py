"""Tokens of a static table: words, and phrases of frequently adjacent words.

A tokenizer reads lower-case words between marks, ``▁dos▁▁rombos▁rojos``, and takes the longest token at each
place, from left to right. A mark on both sides of each word keeps tokens on the bounds of words: a phrase is
found among whole words only. `PhraseReader` reads the same tokens, all texts at once.

Shape suffixes: W words of all texts, N texts, T tokens of all texts, S states of the trie of phrases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Regex, Tokenizer, models, normalizers

MARK = "▁"
UNKNOWN = "[UNK]"
LONGEST_PHRASE = 8
"""Greatest length of a phrase, in words."""
LONGEST_TEXT = 100_000
"""Greatest length of a text that the tokenizer reads, in characters."""
_ROUNDS = 40
"""Rounds in which phrases are chosen; pairs are counted once a round."""
_BOUND = -2
"""Number of the bound between two texts."""
_GREATEST_TABLE = 4_000_000
"""Cells of a trie's table of transitions up to which it is dense."""

Ids = npt.NDArray[np.int64]


def learn_tokens(texts: Iterable[str], n_tokens: int) -> list[str]:
    """Return the tokens for texts, the unknown token first, then single characters, words and phrases.

    Half of the tokens at most are words, the most frequent ones; the others are phrases, made like byte pairs
    (Sennrich et al., 2016): the most frequent pair of neighbours is merged.

    Args:
        texts: Texts to count in.
        n_tokens: Greatest number of tokens.
    """
    sentences = [plain_words(text) for text in texts]
    counts = Counter(word for words in sentences for word in words)
    characters = sorted({MARK, *(letter for word in counts for letter in word)})
    room = max(0, n_tokens - 1 - len(characters))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    words = ranked[: room if len(ranked) <= room // 2 else max(room // 2, min(room, len(ranked)) // 2)]
    number = {word: i for i, word in enumerate(words)}
    flat = [number.get(word, -1) for sentence in sentences for word in (*sentence, "")]
    phrases = _frequent_phrases(np.array(flat, np.int64), len(words), room - len(words))
    tokens = [*([word] for word in words), *([words[i] for i in phrase] for phrase in phrases)]
    return [UNKNOWN, *characters, *("".join(f"{MARK}{word}{MARK}" for word in token) for token in tokens)]


def plain_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without what is neither letter nor digit."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _frequent_phrases(flat: Ids, n_words: int, n_phrases: int) -> list[tuple[int, ...]]:
    """Return phrases of numbers of words; negative numbers separate."""
    parts: list[tuple[int, ...]] = [(i,) for i in range(n_words)]
    for left_rounds in range(_ROUNDS, 0, -1):
        wanted = n_words + n_phrases - len(parts)
        first, second = flat[:-1], flat[1:]
        is_pair = (first >= 0) & (second >= 0) & (first != second)
        keys, counts = np.unique(first[is_pair] * len(parts) + second[is_pair], return_counts=True)
        order = np.argsort(-counts, kind="stable")[: 2 * -(-wanted // left_rounds)]
        chosen = 0
        pairs = [divmod(int(keys[i]), len(parts)) for i in order if counts[i] > 1]
        for a, b in pairs:
            if chosen == -(-wanted // left_rounds):
                break
            at = np.flatnonzero((flat[:-1] == a) & (flat[1:] == b))
            if not len(at) or len(parts[a]) + len(parts[b]) > LONGEST_PHRASE:
                continue
            flat[at] = len(parts)
            flat = np.delete(flat, at + 1)
            parts.append(parts[a] + parts[b])
            chosen += 1
    return list(dict.fromkeys(parts[n_words:]))


def build_tokenizer(tokens: Sequence[str]) -> Tokenizer:
    """Return the tokenizer of tokens as `learn_tokens` gives them."""
    known = "".join(sorted({c for token in tokens[1:] for c in token} - {MARK}))
    tokenizer = Tokenizer(
        models.WordPiece(
            {token: i for i, token in enumerate(tokens)},
            unk_token=UNKNOWN,
            continuing_subword_prefix="",
            max_input_chars_per_word=LONGEST_TEXT,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[^{known}]+"), " "),
            normalizers.Strip(),
            normalizers.Replace(" ", MARK + MARK),
            normalizers.Prepend(MARK),
            normalizers.Replace(Regex("$"), MARK),
        ]
    )
    return tokenizer


class PhraseReader:
    """Reads the words and phrases of many texts at once, as the tokenizer that `build_tokenizer` made does.

    Single characters, the tokens of unknown words, are omitted: their vectors are 0.

    Args:
        tokenizer: The tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        phrases = {
            tuple(token[1:-1].split(MARK + MARK)): i
            for token, i in tokenizer.get_vocab().items()
            if len(token) > 2 and token[0] == token[-1] == MARK
        }
        words = sorted({word for phrase in phrases for word in phrase})
        self._number = {word: i for i, word in enumerate(words)}
        self._known = pc.SetLookupOptions(pa.array(words, pa.string()))
        self._trie = _Trie({tuple(self._number[w] for w in p): i for p, i in phrases.items()}, len(words))
        self._normalize = tokenizer.normalizer.normalize_str

    def __call__(self, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the tokens of all texts, (T,), and where those of each text begin, (N,).

        With the tokens "a", "b", "c" and "a b", the texts "a b c" and "b z a" are ``[0 1 2 | 1 -1 0 |]`` as
        numbers of words with bounds. Tokens start at the places 0, 2, 4 and 6; place 5 holds the unknown "z".
        The result is the numbers of "a b", "c", "b" and "a", and ``[0 2]``.
        """
        words_W, counts_N = self._words(texts)
        # a bound after each text, which no phrase crosses
        ends_N = np.cumsum(counts_N + 1) - 1
        firsts_N = ends_N - counts_N
        bounded_W = np.full(len(words_W) + len(counts_N), _BOUND, np.int64)
        bounded_W[np.arange(len(words_W)) + np.repeat(np.arange(len(counts_N)), counts_N)] = words_W
        lengths_W, tokens_W = self._trie.longest(bounded_W)
        next_W = np.arange(len(bounded_W)) + lengths_W
        next_W[ends_N] = ends_N
        is_start_W = np.zeros(len(bounded_W), bool)
        at_N = firsts_N
        while not np.array_equal(at_N, ends_N):
            is_start_W[at_N] = True
            at_N = next_W[at_N]
        is_start_W &= tokens_W >= 0  # neither bounds nor unknown words
        before_W = np.concatenate([[0], np.cumsum(is_start_W)])
        return tokens_W[is_start_W], before_W[firsts_N]

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether all its words are tokens or parts of phrases."""
        words_W, counts_N = self._words(texts)
        unknown_N = np.bincount(np.repeat(np.arange(len(counts_N)), counts_N), words_W < 0, len(counts_N))
        return [not n for n in unknown_N.tolist()]

    def _words(self, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the numbers of all words, -1 for an unknown one, and how many each text has.

        For the words "a", "b" and "c", "a b c" and "b z a" give ``[0 1 2 1 -1 0]`` and ``[3 3]``.
        """
        split = pc.split_pattern(pc.utf8_lower(pa.array(texts, pa.string())), " ")
        words_R = pc.index_in(split.values, options=self._known).fill_null(-1).to_numpy().astype(np.int64)
        bounds = split.offsets.to_numpy().astype(np.int64)
        others = np.flatnonzero(words_R < 0)
        if not len(others):
            return words_R, np.diff(bounds)
        # capitals beyond the simple, punctuation, two blanks: a raw word may hold no word, or several
        raws = split.values.take(others).dictionary_encode()
        lists = [self._numbers_of(raw) for raw in raws.dictionary.to_pylist()]
        words_W, counts_R = _spread(words_R, others, lists, raws.indices.to_numpy())
        before = np.concatenate([[0], np.cumsum(counts_R)])
        return words_W, np.diff(before[bounds])

    def _numbers_of(self, raw: str) -> list[int]:
        marked = self._normalize(raw)
        return [self._number.get(word, -1) for word in marked[1:-1].split(MARK + MARK) if word]


def _spread(numbers_R: Ids, at: Ids, lists: Sequence[Sequence[int]], chosen: Ids) -> tuple[Ids, Ids]:
    """Put a list in the place of some numbers.

    In ``[7 -1 8 -1]``, the lists ``[4 5]`` at place 1 and ``[]`` at place 3 give ``[7 4 5 8]`` and the counts
    ``[1 2 1 0]``. Those are the arguments `at` ``[1 3]``, `lists` ``[[] [4 5]]`` and `chosen` ``[1 0]``.

    Args:
        numbers_R: Numbers, R of them.
        at: Places in `numbers_R`.
        lists: Lists of numbers, empty ones too.
        chosen: The list of each place, by its position in `lists`.

    Returns:
        All numbers in order, and the count that replaces each of the R.
    """
    sizes = np.array([len(numbers) for numbers in lists], np.int64)
    source = np.concatenate([numbers_R, np.array([n for numbers in lists for n in numbers], np.int64)])
    starts_R, counts_R = np.arange(len(numbers_R)), np.ones(len(numbers_R), np.int64)
    starts_R[at] = len(numbers_R) + (np.cumsum(sizes) - sizes)[chosen]
    counts_R[at] = sizes[chosen]
    ends_R = np.cumsum(counts_R)
    return source[np.repeat(starts_R - ends_R + counts_R, counts_R) + np.arange(counts_R.sum())], counts_R


class _Trie:
    """Phrases of words as states, with the longest phrase at each place.

    The states are the words, then the longer prefixes of phrases. With the words 0, 1 and 2 and the phrase
    ``(0, 1)``, that phrase is state 3, and word 1 leads from state 0 to it.
    """

    def __init__(self, phrases: Mapping[tuple[int, ...], int], n_words: int) -> None:
        self._n_words = n_words
        states = {prefix: 0 for phrase in phrases for prefix in _prefixes(phrase) if len(prefix) > 1}
        numbers = {(i,): i for i in range(n_words)} | {p: n_words + i for i, p in enumerate(states)}
        self.depth = max(map(len, phrases), default=1)
        self._token_S = np.full(len(numbers) + 1, -1, np.int64)
        for phrase, token in phrases.items():
            self._token_S[numbers[phrase]] = token
        steps = {numbers[p[:-1]] * n_words + p[-1]: n for p, n in numbers.items() if len(p) > 1}
        self._dense: npt.NDArray[np.int32] | None = None
        self._keys = np.array(sorted(steps), np.int64)
        self._next = np.array([steps[key] for key in sorted(steps)], np.int64)
        if len(numbers) * n_words <= _GREATEST_TABLE:
            self._dense = np.full(len(numbers) * n_words, -1, np.int32)
            self._dense[self._keys] = self._next

    def longest(self, words_W: Ids) -> tuple[Ids, Ids]:
        """Return length in words and number of the longest token at each place; 1 and -1 without one.

        With the tokens 6, 7 and 8 of the words 0, 1 and 2, and 9 of the phrase ``(0, 1)``, the words
        ``[0 1 2 -2]``, of which -2 is a bound, give ``[2 1 1 1]`` and ``[9 7 8 -1]``.
        """
        lengths_W = np.ones(len(words_W), np.int64)
        tokens_W = np.where(words_W >= 0, self._token_S[np.maximum(words_W, -1)], -1)
        at = np.flatnonzero(words_W >= 0)
        states = words_W[at]
        for depth in range(1, self.depth):
            at, states = at[at + depth < len(words_W)], states[at + depth < len(words_W)]
            words = words_W[at + depth]
            is_word = words >= 0
            at, states = at[is_word], self._step(states[is_word], words[is_word])
            is_state = states >= 0
            at, states = at[is_state], states[is_state]
            tokens = self._token_S[states]
            is_token = tokens >= 0
            tokens_W[at[is_token]] = tokens[is_token]
            lengths_W[at[is_token]] = depth + 1
        return lengths_W, tokens_W

    def _step(self, states: Ids, words: Ids) -> Ids:
        keys = states * self._n_words + words
        if self._dense is not None:
            found: Ids = self._dense[keys].astype(np.int64)
            return found
        if not len(self._keys):
            return np.full(len(keys), -1, np.int64)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._next[places], -1)


def _prefixes(phrase: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [phrase[:n] for n in range(1, len(phrase) + 1)]
