"""Rules that weigh the polar words of a Chinese text by what stands around them: negation and double negation, words of
degree, turns ("但是"), conditions, rhetorical questions, "又…又…". Knows no probabilities.

Written for Inkwell from the grammar (no list taken over): clause by clause, a word of degree or a negation acts on the
polar words that follow it in its clause.
"""

import re
from bisect import bisect_left
from itertools import zip_longest
from typing import NamedTuple

from models.sentiment.polar_words import PolarWord, apart_from, chinese, match_chinese, match_english, words_of

_CLAUSE = re.compile(r"[^，。！？；,.!?;…~～\n]+[！？!?]*")
# Two negations in one: their polar word keeps its sign, and is meant strongly.
_DOUBLE = re.compile(
    "不得不|不能不|不可不|无不|没有?(?:人|谁|一个)?不|不是不|不会不|无一不|非.{1,4}不可|不由得|(?:谁|还有谁|哪个)(?:没|不)"
)
_NEGATION = re.compile(
    "没有?|不(?!过|仅|但|只|管|论|然|禁|愧|断|如说|妨|是不|知不觉)|(?<![特分区个级识鉴辨告离性])别(?!致|人|的|说|墅|提|样)|未(?!来|免|必)"
    "|无(?!论|数|比|限|敌)|并非|绝非|毫无|谈不上|称不上|算不上|说不上|难以|缺乏|缺少|拒绝|很难|少了"
)
_RHETORICAL = re.compile("哪里|哪儿|哪有|有什么(?:好|可|值得)|什么时候(?:能|才)|凭什么|难道")
_FAR = 9  # characters a negation reaches
_NEGATED_PLEASANT, _NEGATED_UNPLEASANT = -0.8, -0.4
_DOUBLED_SHARE = 1.1
# Polar words that also negate or weaken the one that follows at once: "不够精彩".
_MODIFIERS = frozenset(
    (
        "不够",
        "不太",
        "不大",
        "不怎么",
        "不怎",
        "缺乏",
        "缺少",
        "过于",
        "有点",
        "过度",
        "难",
        "好",
        "很难",
        "懒得",
        "放弃",
    )
)
_MODIFIER_SHARE = 0.4
_COMFORT = re.compile("别|不要|不用|不必|无需|别再")  # before an unpleasant word: comfort, mildly pleasant

_DEGREE = (
    (
        re.compile(
            "最|极其?|极度|非常|特别|超级?|巨|贼|无比|太|实在|简直|完全|彻底|绝对|真是|相当|十分|格外|尤其|狠狠|疯狂"
        ),
        1.4,
    ),
    (re.compile("很|好|真的?|挺|蛮|老|怪|更|越来越|这么|那么|多么|如此"), 1.2),
    (re.compile("有一?点|有些|稍微?|略|比较|还算|几乎|大概|可能|也许|好像|似乎|感觉|一丝|些许|凑合"), 0.7),
)  # fmt: skip
_DEGREE_REACH = 5
_DEGREE_AFTER = re.compile(
    "(?:死|极|爆|坏|疯|哭|炸|翻|得)?(?:了|不行|要死|要命|一[批比逼]|很|飞起)|到(?:爆|不行|哭|窒息)|死我|透了"
)
_DEGREE_AFTER_SHARE = 1.3

_TURN = re.compile("但是?|不过|然而|可是|可惜|只是|就是|却|偏偏|结果|没想到|谁知")
_CONCESSION = re.compile("虽然?|尽管|即使|就算|哪怕|除了|本来|原本|原以为|以为|一开始|开头|开始")
_BEFORE_TURN, _AFTER_TURN, _CONCEDED = 0.55, 1.4, 0.55
_CONDITION = re.compile("如果|要是|假如|万一|除非|是否|能否|要不要|是不是|有没有|会不会")
_UNREAL = 0.4
_QUESTION = re.compile("[?？]|[吗么呢][?？]?$|谁有|几点|哪[个里天位]|多少|怎样|如何")
_STRONG_QUESTION = re.compile(
    "怎么(?:这么|能|会|还|又|可以)|为什么(?:要|还|总|不)|凭什么|能不能别|什么(?:东西|玩意|鬼)|难道"
)
_ASKED = 0.5  # of a weak word inside a plain question
_ASKED_UNTIL = 2.0
_BOTH = re.compile("又.{1,6}又|既.{1,6}[又也]")
_EXCLAMATION_SHARE = 0.08
_STRETCHED_SHARE = 1.15
_STRETCHED = re.compile("([\u4e00-\u9fff])\\1{2,}")
# Sounds: however long they are stretched they are one word.
_SOUNDS = (
    (re.compile("哈{2,}|嘿{2,}|嘻{2,}|h{3,}|(?:2|(?<=3))3{2,}(?![0-9])|红{2}火{2}恍{2}惚{2}", re.I), 2.0),
    (re.compile("6{3,}(?![0-9])|冲{2,}|耶{2,}|好耶+"), 1.8),
    (re.compile("呜{2,}|嘤{2,}|唉{2,}"), -1.0),
    (re.compile("烦{2,}|滚{2,}|呸{2,}|哭{2,}|累{2,}|惨{2,}|(?<!气)气{2,}死"), -2.4),
)


class _Clause(NamedTuple):
    start: int
    text: str


def weigh_chinese(text: str) -> list[PolarWord]:
    """The polar words of `text` (simplified, faces blanked out), Latin ones too, with their weights after all rules."""
    clauses = [_Clause(match.start(), match.group()) for match in _CLAUSE.finditer(text)]
    sounds = sorted(_sounds(text))
    sounding = frozenset(sounds)
    latin = sorted(apart_from(sounds, _latin(text)))
    weighed: list[PolarWord] = []
    turns = [number for number, clause in enumerate(clauses) if _TURN.match(clause.text.lstrip(" "))]
    last_turn = turns[-1] if turns else 0
    for number, clause in enumerate(clauses):
        end = clause.start + len(clause.text)
        own_sounds = _between(sounds, clause.start, end)
        found = apart_from(own_sounds, match_chinese(text, clause.start, end))
        found += _between(latin, clause.start, end)
        found += own_sounds
        if not found:
            continue
        found.sort()
        share = _share_of(clause.text, number, last_turn)
        turn_inside = next((match for match in _TURN.finditer(clause.text) if match.start() > 1), None)
        asked = bool(_QUESTION.search(clause.text)) and not _STRONG_QUESTION.search(clause.text)
        previous_end = 0
        for word, following in zip_longest(found, found[1:]):
            if word.start - clause.start < previous_end:
                continue  # "死了" of "好看死了" says how good
            written = text[word.start : word.end]
            valence, used = _in_context(word, written, clause, previous_end, sounding)
            if written in _MODIFIERS and following is not None and following.start - word.end <= 1:
                weighed.append(word._replace(valence=valence * share * _MODIFIER_SHARE))
                continue
            if asked and abs(valence) <= _ASKED_UNTIL:
                valence *= _ASKED
            if turn_inside is not None and not turns and turn_inside.group() in ("但", "但是", "却", "不过", "结果"):
                valence *= _BEFORE_TURN if word.start - clause.start < turn_inside.start() else _AFTER_TURN
            weighed.append(word._replace(valence=valence * share))
            previous_end = word.end - clause.start + used
    return weighed


def is_question(text: str) -> bool:
    return bool(_QUESTION.search(text[-12:])) and not _STRONG_QUESTION.search(text)


def _latin(text: str) -> list[PolarWord]:
    if not any(character.isascii() and character.isalpha() for character in text):
        return []
    words = words_of(text)
    lexicon = chinese()
    found = [PolarWord(word.start, word.end, lexicon[word.text]) for word in words if lexicon.get(word.text)]
    own = {word.start for word in found}
    return found + [
        PolarWord(words[at].start, words[at + length - 1].end, valence)
        for at, length, valence in match_english(words)
        if words[at].start not in own and words[at].text not in lexicon
    ]


def _sounds(text: str) -> list[PolarWord]:
    return [
        PolarWord(match.start(), match.end(), valence)
        for pattern, valence in _SOUNDS
        for match in pattern.finditer(text)
    ]


def _between(words: list[PolarWord], start: int, end: int) -> list[PolarWord]:
    """Those of `words`, which are sorted, that begin in `text[start:end]`."""
    first, last = (bisect_left(words, edge, key=lambda word: word.start) for edge in (start, end))
    return words[first:last]


def _share_of(clause: str, number: int, last_turn: int) -> float:
    share = 1.0
    if last_turn:
        share = _BEFORE_TURN if number < last_turn else _AFTER_TURN
    elif _CONCESSION.match(clause.lstrip(" ")):
        share = _CONCEDED
    if _CONDITION.search(clause):
        share *= _UNREAL
    if clause.endswith(("!", "！")):
        share *= 1 + _EXCLAMATION_SHARE * min(clause.count("!") + clause.count("！"), 3)
    if _STRETCHED.search(clause):
        share *= _STRETCHED_SHARE
    if _BOTH.search(clause):
        share *= _STRETCHED_SHARE
    return share


def _in_context(
    word: PolarWord, written: str, clause: _Clause, previous_end: int, sounds: frozenset[PolarWord]
) -> tuple[float, int]:
    """The word's valence after degree and negation, and how many characters after it belong to it; what stands before
    an earlier polar word doesn't reach it."""
    at = word.start - clause.start
    valence = word.valence
    if word in sounds:
        return valence, 0
    before = clause.text[max(previous_end, at - _FAR) : at]
    near = before[-_DEGREE_REACH:]
    for pattern, share in _DEGREE:
        if pattern.search(near):
            valence *= share
            break
    degree_after = _DEGREE_AFTER.match(clause.text, word.end - clause.start)
    used = 0
    if degree_after:
        valence *= _DEGREE_AFTER_SHARE
        used = len(degree_after.group())
    if not before:
        return valence, used
    rest, doubled = _DOUBLE.subn("", before)
    negations = len(_NEGATION.findall(rest)) + len(_RHETORICAL.findall(rest))
    if negations % 2 == 0:
        return valence * (_DOUBLED_SHARE if doubled else 1.0), used
    if valence > 0:
        return valence * _NEGATED_PLEASANT, used
    if written[0] in "不没":
        return valence * -_DOUBLED_SHARE, used  # "没有人不喜欢"
    return valence * _NEGATED_UNPLEASANT * (1.5 if _COMFORT.search(rest) else 1.0), used
