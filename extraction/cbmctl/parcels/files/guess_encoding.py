"""Which character set words are written in, if nothing says it: one whose letters fit a language of Europe.

Every byte is a character in most character sets, so what decides is what the characters are. Words fit if all
their letters belong to the alphabet of one language, capital and small ones do not alternate, and signs stand
at the ends of words only. Words of several letters rarely fit by chance: Polish in Windows-1250, read as
Windows-1252, has pound signs and question marks in the middle.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

WEST = ("cp1252", "iso8859_15", "cp850")
CENTRAL = ("cp1250", "iso8859_2", "cp852")
BALTIC = ("cp1257", "cp775")
CYRILLIC, GREEK = "абвгдежзийклмнопрстуфхцчшщъьюяѝ", "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"
# language: letters beyond a to z, and the character sets that agencies there have used
LANGUAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Danish or Norwegian": ("æøåéò", WEST),
    "German": ("äöüßéèà", WEST),
    "Swedish or Finnish": ("åäöéüšž", WEST),
    "Dutch": ("éèëïóöüáàç", WEST),
    "French": ("àâæçéèêëîïôœùûüÿ", WEST),
    "Spanish, Catalan or Basque": ("áéíñóúüçàèïò·ºª", WEST),
    "Portuguese": ("áâãàçéêíóôõúüºª", WEST),
    "Italian": ("àèéìíîòóùú", WEST),
    "Irish": ("áéíóú", WEST),
    "Polish": ("ąćęłńóśźż", CENTRAL),
    "Czech": ("áčďéěíňóřšťúůýž", CENTRAL),
    "Slovak": ("áäčďéíĺľňóôŕšťúýž", CENTRAL),
    "Hungarian": ("áéíóöőúüű", CENTRAL),
    "Romanian": ("ăâîşţșț", CENTRAL),
    "Slovenian or Croatian": ("čćšžđ", CENTRAL),
    "Lithuanian": ("ąčęėįšųūž", BALTIC),
    "Latvian": ("āčēģīķļņšūž", BALTIC),
    "Estonian": ("äöõüšž", BALTIC),
    "Maltese": ("ċġħżàèìòù", ("iso8859_3",)),
    "Greek": (GREEK, ("cp1253", "iso8859_7", "cp737")),
    "Bulgarian": (CYRILLIC, ("cp1251", "iso8859_5", "cp866", "cp855")),
}
# letters that make up well over half of a text; by chance they do not
COMMON = {"Greek": set("αιοετσνηυρκπάίόέή"), "Bulgarian": set("аиоетнрсвлкд")}
COMMON_SHARE = 0.5
EDGES = set("'’‘\"“”„«»§°º²³–—…´`· \xa0")
INSIDE = set("'’´`·-")
WORDS = 2000  # the most frequent ones decide
FITS, LEAD = 0.9, 0.05


@dataclass(frozen=True)
class Guess:
    """A character set (Python's name), the languages that it fits, and whether no other fits as well."""

    codec: str
    language: str
    sure: bool


def guess(words: Mapping[bytes, int]) -> Guess | None:
    """The character set of words with letters beyond ASCII, given how often each occurs; None without words.

    Of character sets that fit equally well the first of the list is taken: Windows-1252 before all others.
    """
    frequent = dict(sorted(words.items(), key=lambda item: -item[1])[:WORDS])
    if not frequent:
        return None
    scores: list[tuple[float, Guess, tuple[str, ...]]] = []
    for codec in dict.fromkeys(codec for _, codecs in LANGUAGES.values() for codec in codecs):
        decoded = [(_decoded(word, codec), count) for word, count in frequent.items()]
        texts = tuple(text for text, _ in decoded)
        for language, (letters, codecs) in LANGUAGES.items():
            if codec in codecs:
                score = _fit(decoded, language, set(letters) | set(letters.upper()))
                scores.append((score, Guess(codec, language, sure=False), texts))
    best, found, texts = max(scores, key=lambda one: one[0])
    rival = max((score for score, _, others in scores if others != texts), default=0.0)
    languages = [other.language for score, other, _ in scores if score == best and other.codec == found.codec]
    return Guess(found.codec, " or ".join(languages), sure=best >= FITS and best - rival >= LEAD)


def _decoded(word: bytes, codec: str) -> str:
    """The word; "\ufffd" in place of an invalid byte."""
    return word.decode(codec, "replace")


def _fit(words: Iterable[tuple[str, int]], language: str, letters: set[str]) -> float:
    """The share of words that the language may have."""
    fitting = total = 0
    common = own = 0
    for word, count in words:
        total += count
        if _fits(word, letters, latin=language not in COMMON):
            fitting += count
            own += len(word) * count
            common += sum(c in COMMON.get(language, ()) for c in word.lower()) * count
    if language in COMMON and common < COMMON_SHARE * own:
        return 0.0
    return fitting / total


def _fits(word: str, letters: set[str], *, latin: bool) -> bool:
    core = word.strip("".join(EDGES))
    if not core:
        return False  # only signs: they say nothing
    foreign = [c for c in core if not c.isascii() and c not in INSIDE]
    plain = sum(c.isascii() and c.isalpha() for c in core)
    if any(c not in letters for c in foreign):
        return False
    if latin and len(core) > 3 and len(foreign) > plain + 1:
        return False
    if not latin and plain and foreign:
        return False
    return not any(a.islower() and a != "ß" and b.isupper() for a, b in pairwise(core))
