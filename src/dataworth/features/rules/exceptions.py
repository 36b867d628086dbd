"""Words that the tokenizer treats by themselves: contractions, abbreviations, faces.

The English words and where they are split are those of spaCy's tokenizer, which the published
rules run on; only the grammar of its contractions is written down here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dataworth.features.rules.hashing import text_hash

SLOTS = 1 << 14
LONGEST = 24

_ABBREVIATIONS = """
Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan.
Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr.
Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp.
D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms.
p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. ä. ö. ü. C++ and/or w/o ma'am Ma'am o'clock O'clock 'd
's 'S \u2018s \u2018S 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout 'em 'll 'nuff '' — '
lovin' Lovin' havin' Havin' doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol'
somethin' Somethin'
"""
_SPLIT = """y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na
Gon|na got|ta Got|ta let|'s Let|'s c'm|on C'm|on"""
_SUBJECTS = "i you he she it we they"
_ASKERS = "who what when where why how there that this these those"
_DENIED = "ca could do does did had may might must need ought sha should wo would"
_DENIED_ALONE = "ai are is was were have has dare"
_WITH_HAVE = "could might must should would"
_KEPT = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore"
_FACES = """>.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O
o.o 0.0 o.0 0.o @_@ ^_^ ^__^ ^___^ <3 <33 <333 </3 xD XD xDD XDD =3 =D =) (= =] [= =( )= =/ =| ]=
8) 8-) (-8 8D 8-D :o) (o: :() >:( >:o :'( :'-( :') :'-)"""
_MIRRORED = (("(", ":"), (")", ":"), ("[", ":"), ("(", ";"))
_MOUTHS = ") )) ))) ( (( ((( ] [ } / | 1 P p O o 0 * 3 > X x D"


def _contractions() -> Iterator[str]:
    """Yield contractions with marks where they are split."""
    subjects, askers = _SUBJECTS.split(), _ASKERS.split()
    for base in subjects + askers:
        endings = ["ll", "ll|ve", "d", "d|ve"]
        endings += ["m", "m|a"] if base == "i" else []
        endings += ["re"] if base in ("you", "we", "they", *askers) else []
        endings += ["ve"] if base in ("i", "you", "we", "they", *askers) else []
        endings += ["s"] if base in ("he", "she", "it", *askers) else []
        if base in ("that", "this"):
            endings = [ending for ending in endings if ending not in ("re", "ve")]
        if base in ("these", "those"):
            endings.remove("s")
        for form in (base, base.title()):
            for ending in endings:
                yield f"{form}|{ending}"
                joint = ending.replace("|ve", "|'ve")
                yield f"{form}|'{joint}"
    denied = _DENIED.split()
    for base in [*denied, *_DENIED_ALONE.split()]:
        for form in (base, base.title()):
            yield f"{form}|n't"
            yield f"{form}|nt"
            if base in denied:
                yield f"{form}|n't|'ve"
                yield f"{form}|nt|ve"
            if base in _WITH_HAVE.split():
                yield f"{form}|'ve"
                yield f"{form}|ve"
    for hour in range(1, 13):
        yield from (f"{hour}|{half}" for half in ("a.m.", "am", "p.m.", "pm"))


def exceptions() -> dict[str, tuple[int, ...]]:
    """Return each word with the lengths in characters of what it is split into."""
    words = [word for word in _contractions() if word.replace("|", "") not in _KEPT.split()]
    words += _ABBREVIATIONS.split() + _SPLIT.split() + _FACES.split()
    words += [f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz"]
    words += [f":{nose}{mouth}" for nose in ("", "-") for mouth in _MOUTHS.split()]
    words += [f";{nose}{mouth}" for nose in ("", "-") for mouth in (")", "D", "(")]
    words += [mouth + nose + eyes for mouth, eyes in _MIRRORED for nose in ("", "-")]
    words += [word.replace("'", "\u2019") for word in words if "'" in word]
    return {word.replace("|", ""): tuple(map(len, word.split("|"))) for word in words}


@cache
def exception_table() -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return a hash table: keys uint64 [SLOTS], 0 where empty, and packed lengths, 8 bits each."""
    keys, values = np.zeros(SLOTS, np.uint64), np.zeros(SLOTS, np.uint32)
    for word, sizes in exceptions().items():
        key = text_hash(word)
        slot = key % SLOTS
        while keys[slot] not in (0, key):
            slot = (slot + 1) % SLOTS
        keys[slot] = key
        values[slot] = sum(size << 8 * place for place, size in enumerate(sizes))
    keys.setflags(write=False)
    values.setflags(write=False)
    return keys, values
