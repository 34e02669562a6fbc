"""Word lists by which `characters` guesses. Knows nothing else."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# Capitalised at a sentence's start or always, and nobody's name. What also stands in lower case in the story is left
# out without being listed.
NO_NAMES = _words(
    "a an the this that these those here there then than thus so such some any each every all both none no not nor",
    "i me my mine we us our ours you your yours he him his she her hers it its they them their theirs one once",
    "who whom whose which what when where why how whoever whatever whenever wherever however",
    "and but or yet for if unless until till while whilst as because since though although whether after before",
    "above below under over between among behind beside beyond inside outside near around across along against",
    "about at by down from in into of off on onto out through to toward towards up upon with within without",
    "again also almost already always away ever even finally first second third last later maybe meanwhile never next",
    "now often only perhaps quite rather really soon still suddenly sometimes somewhere somehow slowly quickly",
    "together too very well yes yeah oh ah hey hello goodbye okay ok please thanks thank sorry alas indeed instead",
    "is am are was were be been being do does did done have has had can could may might must shall should will would",
    "let lets don't didn't doesn't can't couldn't won't wouldn't isn't wasn't i'm i'll i've i'd it's that's there's",
    "he's she's we're they're you're what's let's everyone everything everybody someone something somebody nobody",
    "nothing anyone anything anybody another other others two three four five six seven eight nine ten hundred",
    "today tomorrow yesterday tonight morning evening night day dawn dusk spring summer autumn winter",
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august",
    "september october november december christmas easter english french german chinese god lord heaven earth",
    "chapter part book page story end prologue epilogue good bad big little long old new young great dear poor",
    "come go look listen wait stop tell give take get said asked north south east west just like more most much many",
    "few several enough less least half outside inside today nobody certainly surely clearly during despite except",
)

TITLES = _words(
    "mr mrs ms miss dr doctor professor captain king queen prince princess lord lady sir madam madame uncle aunt",
    "father mother brother sister saint st count countess duke duchess baron baroness emperor empress sergeant",
    "lieutenant colonel general major mayor granny grandpa grandma master mistress",
)

ABBREVIATED = _words("mr mrs ms dr st")
AFTER_TITLES = _words("May June April August Good Young Long Little West North")  # names there, words elsewhere
PARTICLES = _words("van von de da di la le el al bin ibn mac the old")

SPEECH = _words(
    "said says say asked asks replied answered cried shouted whispered muttered called murmured laughed sighed smiled",
    "nodded thought wondered looked stood walked turned knew felt told spoke added began shook grinned frowned sang",
    "screamed yelled begged agreed explained insisted promised stared ran sat woke wept",
)

BEFORE_PLACES = _words("in at from near through across towards toward outside inside into around beyond of the a an")

# The hundred commonest surnames, simplified and traditional, and those of two characters.
_ONE = (
    "王李张張刘劉陈陳杨楊赵趙黄黃周吴吳徐孙孫胡朱高林何郭马馬罗羅梁宋郑鄭谢謝韩韓唐冯馮于董萧蕭程曹袁邓鄧许許傅沈曾"
    "彭吕呂苏蘇卢盧蒋蔣蔡贾賈丁魏薛叶葉阎閻余潘杜戴夏钟鍾汪田任姜范方石姚谭譚廖邹鄒熊金陆陸郝孔白崔康毛邱秦江史顾顧"
    "侯邵孟龙龍万萬段雷钱錢汤湯尹黎易常武乔喬贺賀赖賴龚龔文"
)
_TWO = ("欧阳", "歐陽", "司马", "司馬", "上官", "诸葛", "諸葛", "慕容", "令狐", "皇甫", "东方", "東方", "公孙", "公孫")
SURNAMES = (*_ONE, *_TWO)

# What begins like a name and is none.
NO_CHINESE_NAMES = tuple(
    _words(
        "高兴 高興 高大 高高 高山 高声 高聲 高处 高處 方向 方便 方法 方才 马上 馬上 马车 馬車 马路 馬路 马匹 马背",
        "于是 于此 白天 白色 白雪 白云 白雲 白发 白髮 白白 黄色 黃色 黄昏 黃昏 黄金 黃金 石头 石頭 石块 石板 石阶",
        "江湖 江水 江面 江边 常常 常年 常见 金色 金币 金幣 金子 金属 金黄 何时 何時 何必 何况 何處 何处 何人 余下",
        "余生 余光 雷声 雷聲 雷雨 安静 温暖 任何 任务 任務 任凭 万一 萬一 万物 万里 田野 田地 田里 水面 林中 林子",
        "林间 林間 叶子 葉子 叶片 龙王 龍王 文字 文章 文明 文件 文化 许多 許多 许久 許久 许是 顾客 顧客 易经 胡同",
        "胡子 胡须 胡说 胡思 钟声 鐘聲 钟头 钟表 周围 周圍 周末 周到 周身 毛巾 毛衣 毛毛 毛茸 段时 段路 夏天 夏日",
        "夏夜 孟婆 康复 熊熊 熊猫 程度 程序 王国 王國 王子 王后 王宫 王宮 王位 王冠 王朝 王者 唐朝 宋朝 秦朝 汉朝",
        "李子 梁上 杨树 楊樹 杨柳 孔雀 武器 武功 武士 钱包 錢包 钱财 汤里 汤勺 石像 石门 江南 江山 苏醒 蘇醒 谢谢",
        "謝謝 谢过 罗盘 羅盤 孙子 孫子 孙女 孫女 曾经 曾經 曾是 丁点 丁香 贺卡 贺礼 赖皮 贾人 戴着 戴上 戴了 邓布",
        "史书 史上 姜汤 汪汪 汪洋 方圆 方块 林木 雷鸣 雷电 金光 金鱼 小心 小时 小時 小孩 小声 小聲 小屋 小路 小镇",
        "小鎮 小村 小狗 小猫 小貓 小鸟 小鳥 小鱼 小河 小船 小岛 小島 小女 小男 小姐 小子 小朋 小偷 小溪 小手 小事",
        "小伙 小夥 小店 小巷 小城 小山 小草 小花 小刀 小说 小說 小学 小學 小狐 小兔 小熊 小家 小伴 小东 小東 小人",
        "小王子 小公 小房 小木 小口 小伞 小灯 小燈 小火 小盒 小块 小巧 小型 小队 小径 小院 小步 老人 老师 老師",
        "老虎 老鼠 老板 老闆 老爷 老爺 老太 老婆 老公 老头 老頭 老妇 老婦 老家 老了 老是 老实 老實 老去 老年 老友",
        "老屋 老树 老樹 老旧 老狼 老鹰 老兵 老朋 老母 老父 老大 老式 老天 阿姨 阿妈 阿爸 阿婆 阿公",
    )
)

# Characters that stand behind a name, not in it.
NEVER_GIVEN = frozenset(
    "的了是在说說道问問笑想看走和也都就又很站坐拿把被给給对對向从從着著过過得地吗嗎呢吧啊呀我你他她它们們这這那哪谁誰"
    "不没沒有要会會能可听聽见見知叫喊哭跑跳回进進出来來去到上下里裡中后後前与與跟同让讓为為便才还還却卻只再已正将將"
    "忽突然轻輕点點摇搖抬低转轉伸握推拉等等先家个個一二三四五六七八九十两兩几幾什怎么麼此其之而且或但因所以及"
)

SPEECH_CHINESE = tuple(
    _words(
        "说 說 道 问 問 笑 喊 叫 答 想 看 听 聽 站 走 坐 点头 點頭 摇头 搖頭 叹 嘆 回答 低声 低聲 轻声 輕聲 大声",
        "大聲 心里 心裡 抬头 抬頭 哭 轻轻 知道 觉得 覺得 告诉 告訴 忽然 突然",
    )
)
