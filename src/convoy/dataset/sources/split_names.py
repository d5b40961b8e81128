"""Names of folders that stand for splits: ``train``, ``Training``, ``val_set``, ``seg_test``, ``test2017``. Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from convoy.dataset.ingest.splits import SPLIT_ALIASES

UNLABELLED = "unlabelled"
"""Stands for images without classes, such as those of a competition, in place of a split."""

_WORDS = {
    **SPLIT_ALIASES,
    "trn": "train",
    "trainval": "train",
    "validate": "validation",
    "devel": "validation",
    "eval": "validation",  # or the test split, if there is a validation split too
    "evaluation": "validation",
    "tst": "test",
    "holdout": "test",
}
_UNLABELLED_WORDS = {"pred", "predict", "prediction", "predictions", "inference", "unlabeled", "unlabelled", "unlab"}
_EVALUATION = {"eval", "evaluation"}
_NEUTRAL = "sets?|data|datasets?|images?|imgs?|pics?|pictures?|photos?|splits?|folder|dir|samples?|files|the|of|and"
_NEUTRAL_WORD = re.compile(_NEUTRAL)
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_COMPOUND = re.compile(f"({'|'.join(sorted(_WORDS, key=len, reverse=True))})({_NEUTRAL})")


class SplitName(NamedTuple):
    """What a name says about a split.

    Attributes:
        split: ``train``, ``validation``, ``test`` or ``UNLABELLED``.
        rest: The other words of the name, without neutral ones such as ``set`` or ``images``.
        word: The word that stands for the split.
    """

    split: str
    rest: tuple[str, ...]
    word: str


def split_name(name: str) -> SplitName | None:
    """Return what a folder's name says about a split; None if it has no word for one, or several."""
    tokens = [token.lower() for token in _TOKEN.findall(name)]
    tokens = [compound[1] if (compound := _COMPOUND.fullmatch(token)) else token for token in tokens]
    found = [token for token in tokens if token in _WORDS or token in _UNLABELLED_WORDS]
    if len(found) != 1:
        return None
    word = found[0]
    rest = (token for token in words_of(" ".join(tokens)) if token != word)
    return SplitName(_WORDS.get(word, UNLABELLED), tuple(rest), word)


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a folder's name in lower case, without numbers and neutral ones such as ``set``."""
    tokens = (token.lower() for token in _TOKEN.findall(name))
    return tuple(token for token in tokens if not token.isdigit() and not _NEUTRAL_WORD.fullmatch(token))


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """Return the split of each of the names, side by side in one folder, that stand for splits.

    A name that has other words too (``seg_train``) counts only if a second one has the same words (``seg_test``), and
    one of them is for training: a class may be called ``steam train``.
    """
    found = {name: said for name in names if (said := split_name(name))}
    kept = {name: said for name, said in found.items() if not said.rest and said.split != UNLABELLED}
    for rest in {said.rest for said in found.values() if said.rest}:
        alike = {name: said for name, said in found.items() if said.rest == rest}
        if "train" in (splits := {said.split for said in alike.values()}) and len(splits) > 1:
            kept |= alike
    if any(said.split == "train" for said in kept.values()):
        kept |= {name: said for name, said in found.items() if said.split == UNLABELLED and not said.rest}
    validates = any(said.split == "validation" and said.word not in _EVALUATION for said in kept.values())
    return {
        name: "test" if validates and said.word in _EVALUATION else said.split for name, said in sorted(kept.items())
    }
