"""Marks of sarcasm in English and Chinese. Says only that a text wears one; no method here understands irony."""

import re
from collections.abc import Collection

_ENGLISH = re.compile(
    r"(?:^|\s)/s(?:arc|arcasm)?(?=\s|$)"
    r"|\b(?:"
    r"yeah,? (?:right|sure)\b|sure,? jan\b"
    r"|(?:oh|ah),? (?:great|wonderful|lovely|fantastic|joy)\b"
    r"|just what (?:i|we) (?:needed|always wanted)\b"
    r"|how (?:original|lovely|nice|convenient|thoughtful)\b(?! (?:is|are|was|you))"
    r"|thanks (?:a lot )?for nothing\b|big surprise\b"
    r"|(?:what|such) a (?:shock(?:er)?|surprise)\s*[.!]*$"
    r"|my favou?rite (?:part|thing) is (?:when|how|the)\b"
    r"|good luck with that\b|tell me about it\b|slow clap\b|nice going\b|genius move\b"
    r"|colou?r me (?:surprised|shocked)\b|no shit\b|what could (?:possibly )?go wrong\b"
    r"|(?:i'm|i am) so (?:glad|happy|thrilled) (?:the|my|that the|that my)\b"
    r"|love (?:it when|that for (?:me|us)|how (?:the|my|nobody|no one))\b"
    r"|(?:truly|absolutely) (?:inspiring|riveting) stuff\b|groundbreaking\b|good job,? (?:genius|einstein)\b)"
    r"|^(?:well,? )?(?:wow,? )?(?:great|wonderful|lovely|fantastic|brilliant|perfect|awesome|nice),? "
    r"(?:another|more|now|there goes|just)\b"
    r"|\b(?:as if|not)\s*[.!]*$"
)  # of a lower-cased text: `re.I` takes thrice as long, and differs only for İ and ſ
_TAG = re.compile(r"#(?:sarcas(?:m|tic)|iron(?:y|ic)|not)\b", re.I)
# Each mark of _ENGLISH holds one of these words or signs: most texts hold none and needn't be searched.
_ENGLISH_WORDS = frozenset({
    "yeah", "jan", "oh", "ah", "needed", "wanted", "original", "lovely", "nice", "convenient", "thoughtful", "nothing",
    "surprise", "shock", "shocker", "favorite", "favourite", "luck", "tell", "clap", "genius", "color",
    "colour", "shit", "wrong", "glad", "happy", "thrilled", "love", "truly", "absolutely", "groundbreaking", "einstein",
    "great", "wonderful", "fantastic", "brilliant", "perfect", "awesome", "if", "not",
})  # fmt: skip
_CHINESE = re.compile(
    "呵{2,}|/s$|反讽|阴阳怪气"
    "|真是?(?:谢谢|多谢|感谢)(?:你们?|您|他们?|她)(?:了|啊|全家)|我谢谢你|谢谢你全家"
    "|真(?:行|会|能|棒棒|厉害)(?:啊|呢)|真有你的|好家伙|你(?:清高|了不起)|好棒棒|棒棒哦|厉害了"
    "|可真是?(?:好|棒|行|会|厉害|不错|聪明|贴心|准时)|[您你]真(?:行|能|会)"
    "|太(?:感动|惊喜|贴心|会玩)了吧|不愧是(?:你|他|她)|[真太]是太?(?:惊喜|贴心|人性化|高效)|[高真]是高|就这[?？]"
)
_SIGNS = re.compile("🙃|\\[微笑\\]|[a-z] ?👏 ?[a-z]|🙂\\s*$")


def looks_ironic(text: str, language: str, latin: Collection[str]) -> bool:
    """Whether `text` (simplified where Chinese) wears a mark of sarcasm; many that do are meant plainly. `latin` are
    its words in Latin letters, lower-cased."""
    if language == "zh":
        marked = bool(_CHINESE.search(text))
    else:
        likely = "/s" in text or not _ENGLISH_WORDS.isdisjoint(latin)
        marked = likely and bool(_ENGLISH.search(text.lower()))
    return marked or (not text.isascii() and bool(_SIGNS.search(text)))


def tagged_ironic(raw: str) -> bool:
    """Whether its author said so with a hashtag; reading takes their signs away."""
    return "#" in raw and bool(_TAG.search(raw))
