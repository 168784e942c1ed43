"""Write the sample data set: anime.tsv, user.tsv and interactions.tsv.

The data are synthetic. Every title, user, rating and comment is invented by this script from a random
seed, so the sample only shows that the code runs; no result measured on it means anything about real
viewers, real anime or any recommender.
"""

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.random import Generator

N_TITLES, N_UNSEEN, N_USERS = 300, 12, 600
FIRST_DAY, LAST_MOMENT = datetime(2019, 1, 1), datetime(2023, 12, 31, 23, 59, 59)
FIRST_SIGN_UP, LAST_SIGN_UP = datetime(2014, 1, 1), datetime(2023, 6, 30)
STRENGTH = 4.3  # how much taste outweighs popularity when a user picks titles

# One block a theme; a line holds the kind of phrase, then phrases parted by spaces ("goal": verb phrases).
THEMES = """
tag 治愈 日常 美食 乡村 温馨 猫 慢生活
place 临海的坡道小镇 山脚下的旧茶屋 每天只有一班巴士的乡村 巷尾的深夜面馆 湖边的小面包房
lead 辞职回乡的插画师 继承杂货铺的少女 沉默寡言的厨师 爱捡流浪猫的邮差 刚搬来的花匠
goal 让荒废的店铺重新开张 和邻居分享每顿晚饭 在四季里放下心结 替客人找回记忆的味道 照料一只迷路的老猫
mood 温柔缓慢 像热汤一样暖 安静又放松 细碎明亮
noun 茶屋 坡道 面包房 猫铺 晚饭 杂货铺 绣球花 晒谷场
point 日常的烟火气 做饭的场景 那只老猫 小镇的风景 邻里间的温情

tag 恋爱 校园 青春 青梅竹马 单恋 纯爱 告白
place 放学后的旧图书室 靠海的私立高中 能看见铁轨的教学楼天台 即将废校的分校 雨季的车站月台
lead 不敢告白的班长 转学来的短发女生 总是迟到的同桌 写匿名情书的文学社员 假装冷漠的学长
goal 在毕业前说出那句喜欢 弄清情书是谁写的 假扮情侣应付家里 补上错过三年的约定 在友情与心动之间做选择
mood 青涩酸甜 令人心跳加速 带着淡淡的遗憾 纯净羞怯
noun 情书 月台 同桌 天台 雨伞 毕业照 换座位 放学铃
point 告白的场面 两人的暧昧 校园生活 初恋的心跳 青梅竹马的拉扯

tag 科幻 机甲 太空 人工智能 未来 星际 硬核
place 绕行土星的殖民卫星 断了补给的月面基地 人工智能管理的穹顶都市 坠毁在冰原的移民船 轨道电梯底层
lead 被除名的机甲驾驶员 失去记忆的仿生人 偷渡上船的维修工 只剩声音的舰载智能 违抗军令的少年技师
goal 把最后的机甲送回轨道 证明仿生人也有灵魂 在氧气耗尽前修好引擎 截停失控的舰队 破解来自深空的信号
mood 冷峻宏大 硬核紧张 带着金属般的孤独 充满思辨
noun 轨道 仿生人 机甲 深空 引擎 穹顶 殖民舰 恒星炉
point 机甲战斗 科幻设定 太空的孤独感 人工智能的伦理 舰队作战

tag 奇幻 冒险 魔法 异世界 龙 勇者 公会
place 浮在云上的魔法学院 巨龙沉睡的峡谷 边境的冒险者公会 会移动的森林迷宫 被海雾封住的精灵港
lead 不会魔法的见习法师 退休的老勇者 被逐出队伍的药剂师 嗜甜如命的幼龙 背着地图的半精灵
goal 找到传说中会唱歌的圣剑 把幼龙送回北方的巢穴 解开精灵王留下的封印 走遍地图上的空白之地 阻止魔力之泉枯竭
mood 瑰丽辽阔 充满惊奇 像翻开一本旧童话 自由畅快
noun 幼龙 迷宫 药剂师 圣剑 魔女塔 浮空城 半精灵 公会
point 魔法设定 异世界的风土 冒险小队 龙的戏份 迷宫探索

tag 推理 悬疑 犯罪 侦探 烧脑 密室 反转
place 暴雪封山的旅馆 停摆的钟楼 旧城区的侦探事务所 没有出口的美术馆 夜行列车的末节车厢
lead 记不住人脸的侦探 退役的女法医 专写悬案的小说家 自称凶手的少年 说谎成性的律师
goal 找到密室的第三把钥匙 在天亮前找出真凶 追查十年前的失踪案 拆穿完美的不在场证明 读出遗书里的暗号
mood 冷静缜密 步步惊心 压抑而反转不断 疑云密布
noun 密室 钟楼 遗书 证词 真凶 暗号 侦探社 旧钥匙
point 推理过程 最后的反转 密室手法 凶手的动机 埋下的伏笔

tag 运动 热血 竞技 社团 成长 逆袭 比赛
place 漏雨的旧体育馆 连败七年的排球部 海边的自行车赛道 县大赛的预选赛场 小城的拳击馆
lead 身高不足的主攻手 受伤归队的王牌 临时上任的新教练 半路出家的长跑选手 输怕了的队长
goal 带着弱队打进全国大赛 战胜曾经的搭档 在最后一局追回十分 练成谁也没见过的发球 让快要解散的社团活下去
mood 热血沸腾 汗水淋漓 昂扬励志 燃到握拳
noun 发球 赛点 体育馆 终点线 王牌 弯道 拳套 主攻手
point 比赛的分镜 训练的汗水 队友的羁绊 最后一球 弱队的逆袭

tag 音乐 偶像 乐队 舞台 歌舞 梦想 演唱会
place 地下通道的街头舞台 快倒闭的演出酒吧 偶像训练所的宿舍 山顶的露天音乐堂 老唱片店的阁楼
lead 怯场的天才吉他手 出道失败的练习生 听不见低音的鼓手 翻唱起家的主唱 落选的作曲系学生
goal 在演唱会上唱完那首歌 凑齐一支五人乐队 写出自己的第一张专辑 从候补走到舞台中央 续完恩师的遗作
mood 闪闪发亮 旋律动人 热烈又感伤 充满节奏感
noun 吉他 和弦 安可 舞台灯 副歌 练习生 唱片店 鼓点
point 插入曲 演出的场面 乐队的磨合 偶像的努力 舞台灯光

tag 历史 战争 权谋 架空 王朝 群像 史诗
place 烽烟四起的边关要塞 即将陷落的王都 两国交界的盐湖 史官的秘密书库 雪夜行军的山道
lead 隐姓埋名的王子 出身农家的军师 奉命记录真相的史官 临阵换帅的女将军 游走各国的说客
goal 守住王朝最后一座城 用一纸盟约换来十年和平 揭穿朝堂上的弑君阴谋 率领残兵穿越敌境 在史书里留下真实的一页
mood 苍凉厚重 波澜壮阔 悲壮肃穆 暗流涌动
noun 边关 史官 盟约 王都 军师 残旗 烽火台 盐湖
point 权谋博弈 战争场面 群像刻画 历史的厚重感 军师的谋略

tag 恐怖 灵异 怪谈 妖怪 惊悚 诅咒 民俗
place 没有影子的村落 封存多年的旧病栋 每夜多出一级台阶的楼梯 供奉无名神的山寺 照不出人的古镜前
lead 能看见亡灵的守夜人 被诅咒的双胞胎 搜集怪谈的民俗学者 订下妖约的少年 不肯离开老宅的女主人
goal 在第七夜之前解开诅咒 查明村民集体失踪的真相 送走徘徊不去的亡灵 逃出不断循环的午夜 找回被妖怪夺走的名字
mood 阴冷诡谲 毛骨悚然 寂静得令人不安 妖异凄美
noun 怪谈 古镜 守夜人 亡灵 无影村 老宅 诅咒 纸人
point 恐怖气氛 怪谈的设定 妖怪的来历 诅咒的真相 深夜的惊吓

tag 搞笑 喜剧 吐槽 无厘头 欢乐 脱线 短篇
place 住满怪人的廉价公寓 生意惨淡的便利店 从不营业的万事屋 员工全是笨蛋的公司 连校长都爱演的补习班
lead 吐槽停不下来的店员 自封魔王的房东 运气极差的推销员 满嘴歪理的补习老师 误入公司的外星人
goal 躲过房东花样百出的催租 把一场误会越解释越乱 在发薪日前活下去 赢下毫无意义的赌局 给整栋楼的怪人收拾残局
mood 笑料密集 荒诞轻快 毫无逻辑却很欢乐 吐槽满点
noun 房东 便利店 催租 笨蛋公司 外星人 万事屋 发薪日 歪理
point 吐槽的节奏 无厘头的桥段 搞笑的配角 冷笑话 荒诞的误会
"""

# Sentences by kind, comments by tone and the parts of names; lines of the same kind go on with each other.
PHRASE_LINES = """
opening 在{place}，{lead}{name}遇见了{partner}。 故事从{place}开始，主角是{lead}{name}。
opening {lead}{name}来到{place}，平静的生活就此改变。 {place}，{lead}{name}与{partner}意外相识。
turn 为了{goal}，{name}踏出了第一步。 {name}决心{goal}，身边只有{partner}愿意帮忙。
turn 从那天起，{name}一心想要{goal}。 {partner}带来一个请求：{goal}。
setback 然而在那之前，还必须先{other_goal}。 与此同时，另一群人正打算{other_goal}。
setback 可是不{other_goal}，一切都无从谈起。
closing 全篇{mood}，{point}尤其出彩。 {mood}的笔调贯穿始终。 {point}最见用心，余味{mood}。
high {point}太棒了，{mood} 冲着{point}来的，完全没有失望 {mood}，一口气看完了 {tag}爱好者必看，强烈推荐
high {point}让我印象最深 今年看过最好的{tag}作品 已经二刷，{point}还是那么好
middle {point}还可以，节奏有点慢 中规中矩的{tag}番 前半{mood}，后半平淡 {point}不错，结局稍弱
middle 打发时间够用，{tag}部分还行 喜欢{point}，其他一般
low {point}完全没看进去 {tag}元素堆得太生硬，弃了 简介写得{mood}，结果很无聊 不推荐，{point}太敷衍
low 看了三集就困了，{tag}不适合我
unrated 先收藏，听说{point}不错 等完结再看，{tag}题材 朋友安利的{tag}番，还没补完 {mood}，没想好打几分
quoted 一句话概括:"{tag}", 弹幕都在刷"{tag}", 说好的"{tag}"呢,
modifier 晚风里的 第九号 半糖 迟到的 向南的 雾中的 不打烊的 纸折的 倒带的 一公里外的 借来的 会发光的 零点的
modifier 无人认领的 潮汐下的 薄荷色的 上锁的 逆行的 周三的 缺角的 玻璃 远行前的 灰烬里的 三十七度的
modifier 失而复得的 偏南风与 候鸟和 白昼的 尽头的 没寄出的
ending 备忘录 纪行 来信 观察簿 练习曲 未完待续 倒计时 二三事 编年 生存法则 接力 与我
common_tag TV 原创 漫画改 小说改 剧场版 短片 2019年 2020年 2021年 2022年 2023年
nickname 阿澈 小满 阿遥 千秋 木白 阿栗 小岚 未央 阿洛 知夏 青禾 小舟 阿朔 南星 小九 云杉
handle 咸鱼 电波 柠檬 云朵 豆腐 夜猫 山雀 汽水 团子 路灯 海盐 企鹅 麦芽 青柠 橘子 雪糕
handle moka neko_ byte lazy nori Pixel tofu Zero_ mint kumo echo Luna- rin fog
handle_end 不吃鱼 研究员 在路上 today 爱好者 本人 san 92 77 404 _x 同学 睡着了 2nd 放映室 lab
"""


def parse_table(text: str) -> dict[str, list[str]]:
    """Return the words of a text table by the first word of their line."""
    table: dict[str, list[str]] = {}
    for line in text.strip().splitlines():
        kind, *words = line.split()
        table.setdefault(kind, []).extend(words)
    return table


VOCAB = [parse_table(block) for block in THEMES.split("\n\n")]
PHRASES = parse_table(PHRASE_LINES)


def pick(rng: Generator, options: Sequence[str]) -> str:
    """Return one of the options, each as likely as the others."""
    return options[int(rng.integers(len(options)))]


def themed(rng: Generator, mix: np.ndarray, part: str) -> str:
    """Return a phrase of the given part from a theme drawn by its share in the title."""
    return pick(rng, VOCAB[int(rng.choice(len(VOCAB), p=mix))][part])


def themed_pair(rng: Generator, mix: np.ndarray, part: str) -> tuple[str, str]:
    """Return two different phrases of the given part."""
    first = second = themed(rng, mix, part)
    while second == first:
        second = themed(rng, mix, part)
    return first, second


def draw_mixes(rng: Generator, count: int) -> np.ndarray:
    """Return for each title the shares of its one to three themes."""
    mixes = np.zeros((count, len(VOCAB)))
    for row in mixes:
        size = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        row[rng.choice(len(VOCAB), size, replace=False)] = rng.dirichlet(np.full(size, 3.0))
    return mixes


def draw_tastes(rng: Generator, count: int) -> np.ndarray:
    """Return for each user a taste by theme: mostly mild dislike, two or three themes liked."""
    tastes = rng.normal(-0.2, 0.1, (count, len(VOCAB)))
    for row in tastes:
        liked = rng.choice(len(VOCAB), int(rng.integers(2, 4)), replace=False)
        row[liked] = rng.uniform(0.6, 1.3, len(liked))
    return tastes


def make_name(rng: Generator, mix: np.ndarray, taken: set[str]) -> str:
    """Return a title that is not taken yet, and take it."""
    while True:
        noun, style = themed(rng, mix, "noun"), int(rng.integers(3))
        modifier = pick(rng, PHRASES["modifier"]) if style != 1 else ""
        name = modifier + noun + (pick(rng, PHRASES["ending"]) if style != 0 else "")
        if name not in taken:
            taken.add(name)
            return name


def make_tags(rng: Generator, mix: np.ndarray) -> str:
    """Return four to eight tags in one of the formats a tags_name field may have."""
    wanted, tags = int(rng.integers(4, 9)), []
    while len(tags) < wanted:
        tag = pick(rng, PHRASES["common_tag"]) if rng.random() < 0.2 else themed(rng, mix, "tag")
        if tag not in tags:
            tags.append(tag)
    layout = rng.random()
    if layout < 0.1:
        return repr(tags)
    return pick(rng, "、,|").join(tags) if layout < 0.2 else json.dumps(tags, ensure_ascii=False)


def make_summary(rng: Generator, mix: np.ndarray) -> str:
    """Return two to four sentences about the title; now and then nothing."""
    if rng.random() < 0.03:
        return ""
    words = {part: themed(rng, mix, part) for part in ("place", "mood", "point")}
    words["name"] = pick(rng, PHRASES["nickname"])
    words["lead"], words["partner"] = themed_pair(rng, mix, "lead")
    words["goal"], words["other_goal"] = themed_pair(rng, mix, "goal")
    kinds = ["opening", "turn"] + [kind for kind in ("setback", "closing") if rng.random() < 0.65]
    return "".join(pick(rng, PHRASES[kind]).format(**words) for kind in kinds)


def make_titles(rng: Generator, mixes: np.ndarray) -> list[list[str]]:
    """Return the rows of anime.tsv."""
    ids = np.sort(rng.choice(np.arange(1000, 400_000), len(mixes), replace=False))
    taken: set[str] = set()
    return [
        [str(number), make_name(rng, mix, taken), make_tags(rng, mix), make_summary(rng, mix)]
        for number, mix in zip(ids, mixes, strict=True)
    ]


def random_moments(rng: Generator, start: datetime, end: datetime, count: int) -> list[datetime]:
    """Return moments between start and end, in order."""
    seconds = np.sort(rng.integers(0, int((end - start).total_seconds()) + 1, count))
    return [start + timedelta(seconds=int(second)) for second in seconds]


def make_users(rng: Generator) -> list[list[str]]:
    """Return the rows of user.tsv; ids grow with the registration time."""
    ids = np.sort(rng.choice(np.arange(2000, 900_000), N_USERS, replace=False))
    names: list[str] = []
    while len(names) < N_USERS:
        number = str(rng.integers(100)) if rng.random() < 0.4 else ""
        name = pick(rng, PHRASES["handle"]) + pick(rng, PHRASES["handle_end"]) + number
        if name not in names:
            names.append(name)
    moments = random_moments(rng, FIRST_SIGN_UP, LAST_SIGN_UP, N_USERS)
    return [[str(number), name, str(at)] for number, name, at in zip(ids, names, moments, strict=True)]


def choose(rng: Generator, logits: np.ndarray, count: int) -> np.ndarray:
    """Sample titles without replacement from softmax(logits), by the Gumbel trick."""
    return np.argsort(-(logits + rng.gumbel(size=len(logits))), kind="stable")[:count]


def collect(rng: Generator, stages: np.ndarray, appeal: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Return the titles a user collects, in order and with their affinity; each stage picks its half."""
    picked: list[tuple[int, float]] = []
    for affinity, share in zip(stages, (count // 2, count - count // 2), strict=True):
        logits = STRENGTH * affinity + appeal
        logits[[title for title, _ in picked]] = -np.inf
        picked += [(int(title), float(affinity[title])) for title in choose(rng, logits, share)]
    return picked


def make_rate(rng: Generator, affinity: float, level: float) -> int:
    """Return 0 for a title left unrated, else 1 to 10 by how well it suits the user."""
    if rng.random() < 0.12:
        return 0
    return int(np.clip(np.rint(level + 2.0 * affinity + rng.normal(0, 1.0)), 1, 10))


def make_comment(rng: Generator, mix: np.ndarray, rate: int) -> str:
    """Return a short comment whose tone follows the rate."""
    tone = "unrated" if rate == 0 else "high" if rate >= 8 else "middle" if rate >= 5 else "low"
    template = (pick(rng, PHRASES["quoted"]) if rng.random() < 0.05 else "") + pick(rng, PHRASES[tone])
    return template.format(**{part: themed(rng, mix, part) for part in ("mood", "point", "tag")})


def draw_stages(rng: Generator, mixes: np.ndarray, count: int) -> np.ndarray:
    """Return the affinity of users to titles, shaped (users, 2, titles): at first and after a mild drift."""
    early = draw_tastes(rng, count)
    late = 0.75 * early + 0.25 * draw_tastes(rng, count)
    # Groups of viewers that no text shows, so that behaviour tells something content cannot.
    circles = 0.15 * rng.normal(size=(count, 3)) @ rng.normal(size=(3, len(mixes)))
    return np.stack([early @ mixes.T + circles, late @ mixes.T + circles], axis=1)


def make_interactions(
    rng: Generator, titles: list[list[str]], mixes: np.ndarray, users: list[list[str]]
) -> Iterable[list[str]]:
    """Yield the rows of interactions.tsv, user by user and in order of time."""
    appeal, quality = rng.normal(0, 1.0, len(titles)), rng.normal(0, 0.5, len(titles))
    appeal[rng.choice(len(titles), N_UNSEEN, replace=False)] = -np.inf
    for stages, (user_id, _, registered) in zip(draw_stages(rng, mixes, len(users)), users, strict=True):
        count = int(np.clip(np.rint(rng.lognormal(np.log(15), 1.05)), 3, 160))
        level, talk = 5.6 + rng.normal(0, 0.6), 0.41 if rng.random() < 0.87 else 0.0
        picked = collect(rng, stages, appeal, count)
        start = max(FIRST_DAY, datetime.fromisoformat(registered))
        for (title, affinity), at in zip(picked, random_moments(rng, start, LAST_MOMENT, count), strict=True):
            rate = make_rate(rng, affinity, level + quality[title])
            comment = make_comment(rng, mixes[title], rate) if rng.random() < talk else ""
            moment = "" if rng.random() < 0.01 else str(at)
            yield [user_id, titles[title][0], str(rate), comment, moment]


def write_table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write one tab-separated file."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    """Read the command line, make the three tables and write them."""
    parser = argparse.ArgumentParser(description="write the synthetic sample data")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write to (default: data)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    mixes = draw_mixes(rng, N_TITLES)
    titles, users = make_titles(rng, mixes), make_users(rng)
    rows = list(make_interactions(rng, titles, mixes, users))
    args.out.mkdir(parents=True, exist_ok=True)
    write_table(args.out / "anime.tsv", ["subject_id", "name", "tags_name", "summary"], titles)
    write_table(args.out / "user.tsv", ["user_id", "username", "registration_time"], users)
    header = ["user_id", "subject_id", "rate", "comment", "updated_at"]
    write_table(args.out / "interactions.tsv", header, rows)
    print(f"{args.out}: {len(rows)} interactions, {len(users)} users, {len(titles)} titles")


if __name__ == "__main__":
    main()
