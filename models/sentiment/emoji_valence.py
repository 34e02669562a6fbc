"""Emoji, emoticons and kaomoji in a text, and how pleasant each is. Knows no words.

The values are ours, -3 (very unpleasant) to 3, for how people in chats use a sign rather than what its name says: a
skull mostly laughs, a melting or an upside-down face mostly suffers. A sign that isn't listed has the value 0.
"""

import re
from typing import NamedTuple


class Face(NamedTuple):
    """One sign: `text[start:end]`, spelled without skin tone and variation selector, and its valence."""

    start: int
    end: int
    sign: str
    valence: float


_EMOJI_BY_VALENCE = {
    3.0: "😍 🥰 💖 💕 💗 💘 💝 💞 🎉 🥳 🤩",
    2.5: "❤ 😘 😻 💯 🏆 🥇 💙 💚 💛 💜 🧡 🤍 🤎 💓 💟 ❣ 🫶 ♥ ♡ 😚 😙",
    2.0: "😊 😁 😄 😃 😀 🤗 👏 🙌 👍 🎊 🌟 ✨ 🔥 😇 ☺ 😆 👑 🥂 🍾 🏅 🌈 💐 😽 💋",
    1.5: "😂 🤣 😋 😎 😌 👌 ✌ 🖤 💪 🤝 ☀ 🌞 🌸 🌹 🌺 🌻 🌷 🍀 🎂 🎈 🎁 ⭐ 😸 😺 😹 🤟 🤘 🎖 🍻 🎆 🎇 💎 🤠",
    1.0: "🙏 😉 😜 😝 😛 🤪 🤭 🥹 🚀 🆒 🫰 💃 🕺 🎶 🤙 👊 ☕ 🐱 🐶 💅",
    0.8: "✅ 📈 🫡 🤑 🎵 🤓",
    0.5: "🤯 💀 😏 🤫 ☑ ✔",
    0.2: "🙂 👀 😯 😮 😲 👋 ☠ 👻",
    -0.2: "🥲 🤔 🥺 😳 🤷 😅 🧐 🤨 🫣",
    -0.5: "😶 😭 😴 😷 ⚠ 🥶 🥴 🫤 🤐 ⚰ 🥵",
    -0.8: "🙃 😐 🫠 😬 😱 ❌ 🚫 😤 🤧 😵 ⛔ 🥱",
    -1.2: "😑 🤦 😓 😥 😰 😨 😧 😦 😪 🤕 🤒 📉 🙍",
    -1.6: "🙄 😒 😕 😟 🙁 😔 😞 😣 😖 😫 😩 😿 🤡 💩 🗑 🚮 😮‍💨 🙀 🥀",
    -2.2: "☹ 😢 👎 💔 🤢 😠 😾 🆘 ❤️‍🩹",
    -2.8: "😡 🤬 👿 🤮 🖕 🪦",
}
_EMOTICONS_BY_VALENCE = {
    2.5: "<3 <33 <333",
    2.0: r":D :-D =D XD xD :-)) :)) :))) \o/ ^_^ ^o^ ^ω^ :'D",
    1.5: ":) :-) =) :] (: ^-^ ^^ ^.^ uwu UwU UWU nwn ^v^ :3 :-3 c: :> (^^)",
    1.0: ";) ;-) ;D :P :p :-P :-p xP owo OwO OWO ovo OvO o7 :') >w< hhh",
    0.0: ":o :O :0 o_o O_O o.o O.o 0_0 o.O >:)",
    -0.6: "._. .-. ._.' :| :-| :s :S = = QwQ qwq QWQ QvQ qvq TwT TvT",
    -1.0: r":/ :-/ :\ :-\ =/ -_- -.- -_-' =_= ¬_¬ >_< >.< >< orz Orz OTZ ORZ QAQ qaq Qaq TAT x_x X_X",
    -1.6: ":( :-( =( :[ ): :< :c T_T T^T ToT TOT T.T t_t ;_; ;-; ;w; TT_TT D: :(( :(((",
    -2.2: ":'( :,( :'-( </3 >:( >:-( D:< >:c >=(",
}
# Picture words of Weibo and WeChat, which stay as text when a message is copied.
_BRACKETS_BY_VALENCE = {
    2.2: "心 爱你 爱心 太开心 庆祝 鼓掌 赞 中国赞 good 给力 作揖赞 武汉加油 棒",
    1.6: "哈哈 嘻嘻 亲亲 威武 鲜花 玫瑰 强 耶 憧憬 抱抱 可爱 笑哈哈 给你小心心 愉快 呲牙 憨笑",
    1.0: "偷笑 害羞 酷 握手 加油 ok OK 礼物 蛋糕 馋嘴 色 笑cry 破涕为笑 嘿哈 机智 奸笑 太阳 胜利 给你红包 顶",
    0.4: "doge 二哈 坏笑 挤眼 社会社会 旺柴 跪了 拳头 来 互粉 作揖 good吧",
    0.0: "吃瓜 思考 疑问 吃惊 让我看看 话筒 微风 月亮 围观 钟",
    -0.4: "捂脸 允悲 微笑 费解 困 睡 嘘 闭嘴 尴尬 摊手 苦笑",
    -0.9: "汗 黑线 晕 可怜 拜拜 打脸 感冒 哼 无语 右哼哼 左哼哼 打哈气",
    -1.4: "白眼 叹气 衰 委屈 生病 抓狂 苦涩 裂开 弱 蜡烛 皱眉 难过 快哭了",
    -2.0: "泪 伤心 失望 悲伤 鄙视 吐 流泪 大哭 心碎 怒 怒骂 骂 发怒 泪流满面 可恶 猪头",
}


def _spread(by_valence: dict[float, str]) -> dict[str, float]:
    return {sign: valence for valence, signs in by_valence.items() for sign in signs.split(" ")}


def bare(sign: str) -> str:
    """`sign` without variation selectors and skin tones."""
    return _SKIN_OR_SELECTOR.sub("", sign)


_SKIN_OR_SELECTOR = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
EMOJI = {bare(sign): valence for sign, valence in _spread(_EMOJI_BY_VALENCE).items()}
EMOTICONS = {sign: valence for sign, valence in _spread(_EMOTICONS_BY_VALENCE).items() if sign not in {"=", "hhh"}}
BRACKETS = _spread(_BRACKETS_BY_VALENCE)

_ONE = (
    "[\U0001f18e\U0001f191-\U0001f19a\U0001f300-\U0001f3fa\U0001f400-\U0001faff"
    "\u2600-\u2604\u2607-\u27bf\u2b50\u2b55\u231a\u231b\u23e9-\u23f3]"
)
_EMOJI_PATTERN = (
    "[\U0001f1e6-\U0001f1ff]{2}"  # flags
    "|[#*0-9]\ufe0f?\u20e3"  # keycaps
    f"|{_ONE}[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*(?:\u200d(?:{_ONE}|[\u2640\u2642])[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*)*"
    "|[\u2194-\u21aa\u2122\u2139\u203c\u2049\u25aa-\u25fe\u2934\u2935\u2b05-\u2b1c\u3030\u3297\u3299]\ufe0f"
)
# No sign begins or ends inside a word or a number ("16:3", "abc:p"). The look-ahead is there for speed.
_EMOTICON_PATTERN = (
    f"(?<![A-Za-z0-9])(?=[{re.escape(''.join(sorted({sign[0] for sign in EMOTICONS})))}])"
    f"(?:{'|'.join(re.escape(sign) for sign in sorted(EMOTICONS, key=lambda sign: (-len(sign), sign)))})(?![A-Za-z0-9])"
)
_KAOMOJI_PATTERN = (
    "[┻┬][━─][┻┬]"
    r"|¯\\?_?[(（]ツ[)）]_?/?¯"
    r"|[ヾヽ╮╭╯凸]?[(（](?:(?![A-Za-z0-9]{2})[^()（）\n\u4e00-\u76bd\u76c0-\u9fff]){1,12}[)）][ﾉノゞ╮╭╯づ✧♡❤♪～~b]?"
)
_FINDER = re.compile(f"(?P<emoji>{_EMOJI_PATTERN})|(?P<bracket>\\[(?:{'|'.join(map(re.escape, BRACKETS))})\\])"
                     f"|(?P<kaomoji>{_KAOMOJI_PATTERN})|(?P<emoticon>{_EMOTICON_PATTERN})")  # fmt: skip
_ASCII_FINDER = re.compile(f"(?P<emoji>(?!))|(?P<bracket>\\[(?:doge|ok|OK|good)\\])|(?P<kaomoji>(?!))"
                           f"|(?P<emoticon>{_EMOTICON_PATTERN})")  # fmt: skip
_MAYBE_ASCII = re.compile(
    r"[:;=<>^_()/\\|\[]|[oO]\.[oO]|T\.T|\.-|-\.|\b(?:[uUoOnqQTx][wWvAoO][uUoOnqQT]|[xX][dDpP]|[oO][rR][zZ]|o7|OTZ|qaq|Qaq)\b"
)

# What makes a kaomoji's face, the first that fits: angry, crying, annoyed, glad.
_KAOMOJI_FEATURES = (
    (re.compile("┬"), 0.5),
    (re.compile("ツ"), -0.2),
    (re.compile("[益皿╬凸┻]|[°‵`]□|ಠ|[╰╯]_[╰╯]|`(?:Д|д)´|｀(?:Д|д)´"), -1.8),
    (re.compile("[TＴ;；ಥ╥〒].{0,3}[TＴ;；ಥ╥〒]|[;；]|[つっ]?[Дд]|﹏|༎ຶ|⌓|́_ก|ó.?ò|•́.{1,2}•̀|´;"), -1.5),
    (re.compile("[︿눈¬]|[-－—=＝￣]_[-－—=＝￣]|\\^╰|╯\\^|-{1,2}\""), -1.0),
    (re.compile("͡°|[zｚ]"), 0.2),
    (re.compile("[▽∀ωᴗ◡‿ヮ∇꒳♡♥❤◕≧≦˘ᵔ✧≖◍•ｗwᆺᗜ]|\\^.{0,3}\\^|[oOεз3]"), 1.5),
)  # fmt: skip
_FACE_MARK = re.compile(
    "[▽∀ωᴗ◡‿ヮ∇꒳♡♥❤◕≧≦˘ᵔ✧≖◍•ᆺᗜ益皿╬┻┬ಠ°□ಥ╥〒﹏༎⌓︿눈¬￣ツ͡´`｀＾;；дДε╯╰⊙◔゜]|[TＴ_.·^=~-].{0,3}[TＴ_.·^=~-]|\\^"
)


def _kaomoji_valence(sign: str) -> float | None:
    """None where the parenthesis is no face."""
    if not _FACE_MARK.search(sign):
        return None
    return next((valence for feature, valence in _KAOMOJI_FEATURES if feature.search(sign)), 0.0)


def find_faces(text: str) -> list[Face]:
    """Every emoji, emoticon, kaomoji and picture word of `text`, in order, without overlap."""
    if text.isascii():
        if not _MAYBE_ASCII.search(text):
            return []
        finder = _ASCII_FINDER
    else:
        finder = _FINDER
    found = []
    for match in finder.finditer(text):
        sign, start, end = match.group(), match.start(), match.end()
        if match.lastgroup == "emoji":
            sign = bare(sign)
            valence: float | None = EMOJI.get(sign, EMOJI.get(sign[0], 0.0))
        elif match.lastgroup == "bracket":
            valence = BRACKETS[sign[1:-1]]
        elif match.lastgroup == "emoticon":
            valence = EMOTICONS[sign]
        else:
            valence = _kaomoji_valence(sign)
        if valence is not None:
            found.append(Face(start, end, sign, valence))
    return found
