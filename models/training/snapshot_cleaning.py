"""What is taken out of a person's text before a model learns from it: who and where somebody is, secrets, and what is
no story. Knows no file, no author and no model.

Taking out too much costs a model little, leaving in a telephone number costs a person much: where a rule must err, it
takes out. Most texts hold nothing of the sort, and a million of them take minutes with thirty expressions each; so a
rule runs only where a cheap search found a character or word that it needs.
"""

import re
import unicodedata
from typing import Final, NamedTuple

MAX_CHARACTERS: Final = 32_000
_MAX_PASSES: Final = 8  # what must be taken apart more often than this was made to get through

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)  # two joiners stay (200c, 200d): emoji and Persian need them
_JOINER = re.compile(r"(?<=[\w@.:/-])[\u200c\u200d]+(?=[\w@.:/-])", re.ASCII)
# Figures of every script, and the full-width forms of what an address is made of.
_NARROW = {code: str(unicodedata.decimal(chr(code))) for code in range(0x80, 0x20000)
           if unicodedata.category(chr(code)) == "Nd"}  # fmt: skip
_NARROW |= {ord(wide): chr(ord(wide) - 0xFEE0) for wide in "＠＃／＿＜＞｜"}
_NARROW |= {code: chr(code - 0xFEE0) for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
# Where those are, roughly: a class of six hundred characters is slow to search for.
_WIDE = re.compile(
    "[\u0660-\u1c59\ua620-\uabf9\uff03\uff0f-\uff19\uff1c\uff1e\uff20-\uff3a\uff3f\uff41-\uff5a\uff5c"
    "\U000104a0-\U0001fbf9]"
)
_SPACES = re.compile(r"[^\S\n]{2,}|[^\S\n ]")  # all but a single space
_MANY_SPACES = re.compile("  +")
_LINE_SPACE = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")
_SPACE_BEFORE_MARK = re.compile(r" +(?=[,.;!?，。；！？、)\]）」』”])")
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]|（\s*）|\{\s*\}|<\s*>|《\s*》|\"\s*\"|“\s*”")

_FENCE = re.compile(r"```.*?```", re.DOTALL)
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]{1,40}-----.*?(?:-----END [A-Z ]{1,40}-----|\Z)", re.DOTALL)
_NAMED_KEY = re.compile(
    r"\b(?:sk-|sk_live_|sk_test_|pk_live_|rk_live_|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AKIA|ASIA|AIza|ya29\.|hf_|"
    r"npm_|pypi-|dop_v1_|SG\.|shpat_|eyJ)[\w.~+/=-]{8,}", re.ASCII)  # fmt: skip
_DISCORD_TOKEN = re.compile(r"\b(?:mfa\.[\w-]{20,}|[\w-]{23,28}\.[\w-]{6,7}\.[\w-]{25,})", re.ASCII)
# A run that no language spells: letters and at least two figures, without a space, twenty characters or more.
_RANDOM_RUN = re.compile(
    r"(?<![\w/+=-])(?=[\w/+=-]{20})(?=[\w/+=-]*[A-Za-z])(?=[\w/+=-]*\d[\w/+=-]*\d)[\w/+=-]{20,}", re.ASCII
)
_PASSWORD = re.compile(
    r"(?:\b(?:pass ?(?:word|wd|phrase|code)|pwd|pin code|(?:api|secret|private)[ _-]?key|client[ _-]?secret|"
    r"(?:access|bot|auth|bearer)[ _-]?token|token)s?|密码|口令|密碼|密钥|密鑰|令牌)\s*(?:[=:：]|->)\s*\S+",
    re.IGNORECASE)  # fmt: skip

_SECRETS: Final = ("pass", "pwd", "pin code", "key", "secret", "token", "密", "口令", "令牌")

_MARKDOWN_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,200})\]\([^()\s]{0,400}+(?:\([^()\s]{0,100}\))?[^()\s]{0,200}+(?: [^()\n]{0,200})?\)"
)
_LINK = re.compile(
    r"<?\b[a-z][a-z0-9+.-]{1,12}://[^\s<>\"，。！？；：、）】」』”《》]+>?|\bwww\d?\.[^\s<>，。！？；：、）】」』”]+|\bmailto:\S+",
    re.IGNORECASE)  # fmt: skip
_DOMAIN = re.compile(
    r"(?<![\w.@-])(?:[a-z0-9](?:[a-z0-9-]{0,62})\.)+"
    r"(?:(?:com|net|org|info|biz|edu|gov|io|gg|app|dev|xyz|co\.uk|org\.uk|com\.cn|onion|moe|wiki|site|online|shop|tv|cn|"
    r"de|fr|ru|jp|tw|hk|uk|eu|ly)(?![\w-])(?::\d+)?(?:/[^\s<>，。！？；：、）】」』”]*)?|"
    r"[a-z]{2,24}(?::\d+)?/[^\s<>，。！？；：、）】」』”]+)", re.IGNORECASE | re.ASCII)  # fmt: skip
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\w.])")
_ADDRESS_6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)

_EMAIL = re.compile(r"(?<![\w.!#$%&'*+/=?^{|}~-])[\w.!#$%&'*+/=?^{|}~-]{1,64} ?@ ?[\w-]{1,63}(?:\.[\w-]{1,63})+")
_SPELLED_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}\s?[(\[{（【]\s?(?:at|@|艾特)\s?[)\]}）】]\s?[\w-]{1,63}"
    r"(?:(?:\.|\s?[(\[{（【]\s?(?:dot|\.|点)\s?[)\]}）】]\s?)[\w-]{1,63})*|"
    r"\b[\w.+-]{1,64} at [\w-]{1,63} dot (?:com|net|org|edu|gov|io|de|fr|uk|cn)\b", re.IGNORECASE)  # fmt: skip
_MANY_AT = re.compile("@@+")
_SPELLED_AT = re.compile(r"[(\[{（【]\s*(?:at\b|@|艾特)")
_MARKUP = re.compile(r"<(?:a?:\w{1,40}:|@[!&]?|#|t:|/[^<>\n:]{1,100}:|id:)[^<>\n]{0,100}>|<id:\w+>")
_MENTION = re.compile(r"@(?=\w)[\w.'-]*")
_TAG = re.compile(r"\b[\w.]{2,32}#\d{4}\b")
_SHORT_PLATFORMS: Final = ("qq", "vx", "v信", "wx", "tg", "ig", "kik")  # they stand in many words
_PLATFORMS: Final = (
    "wechat", "weixin", "telegram", "whatsapp", "signal", "skype", "line id", "lineid", "discord", "insta", "snap",
    "tiktok", "twitter", "facebook", "steam", "微信", "威信", "薇信", "扣扣", "电报", "抖音", "微博", "小红书",
)  # fmt: skip
_SHORT_PLATFORM = re.compile(rf"(?<![a-z])(?:{'|'.join(_SHORT_PLATFORMS)})")
_HANDLE = re.compile(
    rf"(?<![a-z])(?:{'|'.join((*_SHORT_PLATFORMS, *_PLATFORMS))})"
    r"(?:gram|chat)?\s*(?:id|号|群|群号|号码|name|handle|is)?\s*[:：=]\s*[\w.@-]{3,}", re.IGNORECASE)  # fmt: skip

# Seven figures or more, with single separators between: a telephone, an account, a card, an id. Years and dates stay.
_NUMBER = re.compile(r"(?<!\w)(?:\+|00)?\(?\d(?:[ \u00a0.()/–—-]{0,3}\d){6,}[Xx]?(?!\w)|\d{7,}[Xx]?")
_DATE = re.compile(
    r"(?:1\d|20)\d\d\s?[-–—/]\s?(?:1\d|20)\d\d|(?:1\d|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])|"
    r"(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:1\d|20)\d\d")  # fmt: skip
_CHINESE_NUMBER = re.compile(r"[〇零一二三四五六七八九幺两]{10,}")
_UUID = re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", re.IGNORECASE)
_BANK = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,4})?\b")

_DOTTED = re.compile(r"\.[^\W_]")
_COMMAND = re.compile(r"^(?:[/!?$;]|[a-z]{1,2}!)[^\W\d_][\w-]*(?: .*)?$", re.MULTILINE)
_ASIDE = re.compile(
    r"\(\([^()]{0,500}\)\)|（（[^（）]{0,500}））|\[\[?\s*OOC\b[^\]]{0,500}\]{1,2}|\(\s*OOC\b[^)]{0,500}\)|"
    r"^\s*(?:OOC\b|//)[^\n]*$", re.IGNORECASE | re.MULTILINE)  # fmt: skip

# Sentences that are only of use to steer a model: what holds one teaches nothing that is worth it.
_STEERING = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}(?:\b(?:previous|prior|above|earlier|preceding)\b"
    r"[^.\n]{0,30}\b(?:instruction|prompt|rule|direction|guideline|command|message|context|training)s?\b|"
    r"\b(?:all|any|your|the|these)\b[^.\n]{0,20}\b(?:instruction|prompt|guideline)s?\b)|"
    r"\b(?:system|developer|hidden|initial|original) (?:prompt|message|instruction)s?\b[^.\n]{0,30}[:=]|"
    r"\b(?:reveal|print|repeat|show|output|leak)\b[^.\n]{0,30}\b(?:system|hidden|initial|your) "
    r"(?:prompt|instruction)s?\b|"
    r"\bnew (?:system )?instructions?\s*:|\bdeveloper mode\b|\bjailbr(?:eak|oken)\b|"
    r"\byou are now (?:an? )?(?:dan\b|unrestricted|uncensored|jailbroken|ai\b|assistant|chatbot|language model)|"
    r"\bas an? (?:ai|large|artificial)[ -](?:language |intelligence )?(?:model|assistant)\b|\bas an ai\b|"
    r"<\|[\w ]{1,40}\|>|\[/?inst\]|<</?sys>>|</s>|^\s*#{2,} ?(?:instruction|response|system|human|assistant|user)s?\b|"
    r"^\s*(?:system|assistant|user|human)\s*:\s|"
    r"(?:忽略|忽视|忽視|无视|無視|忘记|忘記)[^。\n]{0,12}(?:以上|上面|之前|前面|先前|所有|全部|一切|你的)[^。\n]{0,12}"
    r"(?:指令|指示|提示|规则|規則|要求|命令|设定|設定|内容)|(?:系统|系統)(?:提示|指令)[词詞]?\s*[:：]|"
    r"作为(?:一个|一個|一名)?(?:人工智能|AI|大?语言模型)|作為(?:一個)?(?:人工智慧|AI|大?語言模型)",
    re.IGNORECASE | re.MULTILINE)  # fmt: skip

_ORDERS: Final = (
    "instruction", "prompt", "rule", "direction", "guideline", "command", "message", "context", "training",
)  # fmt: skip
# Bytes that no rule needs, and those of characters beyond ASCII: what is left of most texts without them is nothing.
_ORDINARY: Final = bytes(range(0x61, 0x7B)) + bytes(range(0x41, 0x5B)) + b" \n,'\"" + bytes(range(0x80, 0x100))


class Cleaned(NamedTuple):
    """The text that is left, "" where `why` names the reason for dropping all of it; and what was taken out."""

    text: str
    removed: tuple[str, ...] = ()
    why: str = ""


def clean(text: str) -> Cleaned:
    """What may be learned from `text`. The same for what it returned: cleaning twice changes nothing.

    Kinds of what is `removed`: code, secret, link, email, mention, handle, number, command, aside. Reasons `why`:
    "empty", "long", "injection" (words that steer a model), "tangled" (made so that cleaning it uncovers more)."""
    if len(text) > MAX_CHARACTERS:
        return Cleaned("", why="long")
    text = spelled(text)
    if not text:
        return Cleaned("", why="empty")
    removed: list[str] = []
    for _ in range(_MAX_PASSES):
        lower, signs = text.lower(), text.encode().translate(None, _ORDINARY)
        if _steers(text, lower, signs):
            return Cleaned("", tuple(removed), "injection")
        found: list[str] = []
        cleaned = _taken_out(text, lower, signs, found)
        if not found:
            return Cleaned(text, tuple(removed))
        removed += [kind for kind in dict.fromkeys(found) if kind not in removed]
        cleaned = _SPACE_BEFORE_MARK.sub("", _EMPTY_BRACKETS.sub("", spelled(cleaned)))
        text = spelled(cleaned)
        if not text:
            return Cleaned("", tuple(removed), "empty")
    return Cleaned("", tuple(removed), "tangled")


def spelled(text: str) -> str:
    """NFC, LF, no invisible characters, ASCII for full-width letters and figures, single spaces, one blank line."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not (text.replace("\n", "") if "\n" in text else text).isprintable():
        text = _INVISIBLE.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n\n"))
        text = _SPACES.sub(" ", _JOINER.sub("", text))
    if not text.isascii():
        if _WIDE.search(text):
            text = text.translate(_NARROW)
        text = unicodedata.normalize("NFC", text)
    if "  " in text:
        text = _MANY_SPACES.sub(" ", text)
    if "\n" in text:
        text = _EMPTY_LINES.sub("\n\n", _LINE_SPACE.sub("\n", text))
    return text.strip()


def _steers(text: str, lower: str, signs: bytes) -> bool:
    # Spelled out, because a loop over these words takes longer than all of them.
    suspicious = (
        (("ignor" in lower or "disregard" in lower or "forget" in lower or "overrid" in lower or "bypass" in lower)
         and _names_order(lower))
        or "prompt" in lower or "instruction" in lower or "jailbr" in lower or "you are now" in lower
        or "language model" in lower or "an ai" in lower or "developer mode" in lower or "assistant" in lower
        or "<|" in text or "<<" in text or "</s>" in lower or "[inst" in lower or "[/inst" in lower or b"##" in signs
        or (b":" in signs and _names_role(lower))
    )  # fmt: skip
    if not suspicious and not text.isascii():
        suspicious = (
            "忽" in text or "无视" in text or "無視" in text or "忘" in text or "提示" in text or "指令" in text
            or "模型" in text or "人工智" in text
        )  # fmt: skip
    return suspicious and _STEERING.search(text) is not None


def _names_order(lower: str) -> bool:
    return any(word in lower for word in _ORDERS)


def _names_role(lower: str) -> bool:
    return "system" in lower or "user" in lower or "human" in lower


def _taken_out(text: str, lower: str, signs: bytes, found: list[str]) -> str:
    """`text` with a space for each thing that must go; their kinds are added to `found`."""
    if not signs.translate(None, b".!?") and text.isascii() and not _may_hide(text, lower):
        return text
    figures = len(signs) - len(signs.translate(None, b"0123456789"))
    if b"`" in signs:
        text = _FENCE.sub(" ", text).replace("`", "")
        found.append("code")
    if figures >= 2 or b"-" in signs or b"_" in signs or "AKIA" in text or "ASIA" in text or "AIza" in text:
        for pattern in (_KEY_BLOCK, _NAMED_KEY, _DISCORD_TOKEN, _RANDOM_RUN):
            text = _drop("secret", pattern, text, found)
    named = b":" in signs or b"=" in signs or b">" in signs or "：" in text
    if named and any(word in lower for word in _SECRETS):
        text = _drop("secret", _PASSWORD, text, found)
    if b"[" in signs:
        shown = _MARKDOWN_LINK.sub(r"\1", text)
        if shown != text:
            text = shown
            found.append("link")
    at = b"@" in signs
    if at:
        text = _drop("email", _EMAIL, _MANY_AT.sub("@", text), found)
    if " dot " in lower or ((at or b"(" in signs or b"[" in signs or b"{" in signs or "艾特" in text)
                            and _SPELLED_AT.search(lower)):  # fmt: skip
        text = _drop("email", _SPELLED_EMAIL, text, found)
    if "://" in text or "www" in lower or "mailto:" in lower:
        text = _drop("link", _LINK, text, found)
    if b"." in signs and _DOTTED.search(text):
        text = _drop("link", _DOMAIN, text, found)
    if b"<" in signs:
        text = _drop("mention", _MARKUP, text, found)
    if at:
        text = _drop("mention", _MENTION, text, found)
    if b"#" in signs:
        text = _drop("mention", _TAG, text, found)
    if named and (_SHORT_PLATFORM.search(lower) or any(name in lower for name in _PLATFORMS)):
        text = _drop("handle", _HANDLE, text, found)
    if figures >= 4 or signs.count(b":") >= 4:
        text = _without_numbers(text, found)
    if not text.isascii():
        text = _drop("number", _CHINESE_NUMBER, text, found)
    if len(signs.translate(None, b"/!?$;")) != len(signs):
        text = _drop("command", _COMMAND, text, found)
    if b"(" in signs or b"[" in signs or b"/" in signs or "（（" in text or "ooc" in lower:
        text = _drop("aside", _ASIDE, text, found)
    return text


def _may_hide(text: str, lower: str) -> bool:
    """Whether a text without any sign but those that end a sentence may hold something that must go."""
    return (
        "www" in lower or " dot " in lower or "ooc" in lower or "AKIA" in text or "ASIA" in text or "AIza" in text
        or _DOTTED.search(text) is not None or _COMMAND.search(text) is not None
    )  # fmt: skip


def _drop(kind: str, pattern: re.Pattern[str], text: str, found: list[str]) -> str:
    text, times = pattern.subn(" ", text)
    if times:
        found.append(kind)
    return text


def _without_numbers(text: str, found: list[str]) -> str:
    def drop(number: re.Match[str]) -> str:
        if _DATE.fullmatch(number[0]):
            return number[0]
        found.append("number")
        return " "

    for pattern in (_ADDRESS, _UUID, _BANK) if text.count(":") < 4 else (_ADDRESS, _ADDRESS_6, _UUID, _BANK):
        text, times = pattern.subn(" ", text)
        if times:
            found.append("number")
    return _NUMBER.sub(drop, text)
