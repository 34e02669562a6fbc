"""English, Chinese, or neither, by script and by common words. Good enough to choose a model, no more than that."""

import re
from typing import Literal

Language = Literal["en", "zh", "other", "none"]

CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Kana in runs only: single ones decorate Chinese text and kaomoji.
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc]{2,}")
# Latin with accents is left to the words; a script of its own is another language.
_OTHER_SCRIPT = re.compile("[\u0370-\u1fff\ua000-\ud7ff\ufb50-\ufdff\ufe70-\ufeff]")
_ACCENTED = re.compile("[\u00df-\u00f6\u00f8-\u024f]", re.I)
_LATIN_WORD = re.compile("[a-z\u00c0-\u024f][a-z\u00c0-\u024f']*", re.I)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Latin spellings that only writers of Chinese use.
PINYIN_SLANG = _words(
    "yyds xswl awsl zqsg u1s1 yysy tql nsdd dbq plmm xdm jms yygq bdjw szd kswl ssfd djll wtcl pyq nmsl wdnmd tmd "
    "cnm nbcs ddw drl srds wsl lsp gkd ojbk xjj bksn ynsl hhh hhhh hhhhh hhhhhh 233 2333 23333 666 6666 66666"
)

_ENGLISH = _words(
    "the and you is to of that it for this was are with have not but what just like my so be at on do can your all we "
    "get i i'm im it's its don't dont lol he she they them his her there their about if out up or as by from how when "
    "who will would could should did does has had been one more some good great love really very think know see want "
    "need go going got make time here now then than too also only even much because why where which thanks thank "
    "please yes yeah yep nope ok okay hey hello new story chapter read writing wrote today tomorrow these those any "
    "into over after before never always still back way work day people man u ur gonna wanna can't cant won't didn't "
    "that's i've "
    "a in me no us were am an"
)
_FOREIGN = _words(
    # Spanish, Portuguese, French, Italian, German, Dutch, Polish, Turkish, Indonesian, Tagalog, romanised Hindi,
    # Swedish
    "que de la el los las una por con para es en un pero como muy esta está yo mi te lo le se su al del más mas porque "
    "cuando hoy gracias hola bueno buena qué sí si ya tu todo nada eso este hay ser soy bien mejor día días "
    "não nao os um uma com eu você voce da na ao pelo mais isso meu minha foi tá ta pra muito obrigado bom dia são "
    "les des et est pas je il une dans ce qui sur mais avec vous nous c'est j'ai suis merci bonjour très tout c'était "
    "ça ca mon ma ton elle du au aux sont trop rien "
    "der das und ist nicht ich ein eine zu mit auf für den von wir auch aber dem sich es noch nur wie wenn bin mir "
    "mich dich hat sind wird war dann mal ja nein kein keine einen einem einer wieder morgen diese vom zum zur über wo "
    "mich dich danke heute schon jetzt oder bei aus nach immer gut "
    "di che il per sono ti non è della dei nel anche gli questo questa ho grazie ciao molto solo tutto fatto perché ha "
    "con alla dal nella come quando cosa fare siamo anch'io poi ora oggi domani una sta stato c'è sei ci si più e "
    "já só mas às vou fazer aqui ter quero nem sem ou esse vai acho foi pro tem hoje amanhã ele ela "
    "het een van ik niet dat en voor maar ook nog wel deze bij zijn heb "
    "nie się jest że jak ale tak czy tylko bardzo jestem "
    "bir ve bu çok ama için değil gibi daha ne kadar "
    "yang dan ini itu aku kamu tidak untuk ada saya dengan lagi bisa udah gak nya juga "
    "ang ng mga ako ko ikaw siya hindi naman lang "
    "hai ki ko se mein nahi nahin kya aur bhi tha ho ka ke hain kar raha rahe bhai tum mai hum koi wo jo apne "
    "och är det som på jag inte att har"
) - {
    "is",
    "so",
    "die",
    "was",
    "on",
    "me",
    "no",
    "in",
    "to",
    "a",
    "do",
    "all",
    "an",
    "am",
    "as",
    "at",
    "he",
    "go",
    "e",
    "ha",
    "ho",
}

# Spelled alike in English and in some other language: half a word for English.
_SHARED = _words("in so was man on am an die me no a do as is time at we all us by")


def latin_words(text: str) -> list[str]:
    return _LATIN_WORD.findall(text.lower())


def guess_language(text: str, latin: list[str]) -> Language:
    """`latin` is `latin_words(text)`. "none" where there are no letters; a text of both is the one with more words
    (about 1.6 Chinese characters make one)."""
    if text.isascii():
        if not latin:
            return "zh" if text.strip() in PINYIN_SLANG else "none"
        return _latin_language(latin)
    chinese = len(CHINESE.findall(text))
    kana = sum(map(len, _KANA.findall(text)))
    if kana >= 3 and kana * 4 >= chinese:
        return "other"
    others = len(_OTHER_SCRIPT.findall(text))
    if others > 2 and others / 4 > max(chinese / 1.6, len(latin)):
        return "other"
    if chinese / 1.6 >= max(len(latin), 0.1):
        return "zh"
    if latin:
        return _latin_language(latin)
    return "other" if others > 2 else "none"


def _latin_language(latin: list[str]) -> Language:
    words = latin[:200]
    if len(words) <= 3 and any(word in PINYIN_SLANG for word in words):
        return "zh"
    if _FOREIGN.isdisjoint(words) and all(map(str.isascii, words)):
        return "en"  # as most texts; what follows would say so too
    english = foreign = 0.0
    for word in words:
        if word in _ENGLISH:
            english += 0.3 if word in _SHARED else 1
        elif word in _FOREIGN:
            foreign += 1
        if not word.isascii() and _ACCENTED.search(word):
            foreign += 0.6
    enough = foreign >= 2 or foreign / len(words) >= 0.3
    return "other" if enough and foreign > english else "en"
