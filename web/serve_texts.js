"use strict";
// What the page of serve.py says, by language; a text with numbers or names in it is a function.

const LANGUAGES = { en: "English", zh: "中文" };
const TEXTS = {
  en: {
    skip: "To the list", language: "Language", mine: "Your titles", search: "Search by any name",
    clear: "Remove all", more: n => `${n} more`, upload: "Open an exported list",
    uploadHint: "Or drop it anywhere here. From Bangumi, MyAnimeList or AniList. It is read by this server and not kept.",
    uploading: name => `Reading ${name} …`,
    uploaded: a => a.rates
      ? `${a.collected} of ${a.rows} entries count here: ${a.liked} liked, ${a.neutral} neutral, ${a.disliked} disliked, `
        + `${a.unrated} unrated; ${a.excluded} planned are only left out; ${a.unknown} are unknown here.`
      : `${a.collected} of ${a.rows} entries count here, all alike: this run was trained without rates; ${a.excluded} `
        + `planned, dropped or rated low are only left out; ${a.unknown} are unknown here.`,
    love: "Love", like: "Like", dislike: "Dislike", opinion: name => `What you think of ${name}`,
    marksHint: "♥ love, + like, − dislike: the list follows.", undo: "Undo",
    taste: "This list is of", watch: "what I will watch", loving: "what I will love",
    tastes: ["what I will watch", "rather what I will watch", "both alike", "rather what I will love", "what I will love"],
    tasteHint: "It changes the list once you mark a title with ♥, + or −.",
    refused: name => `${name} is not for you.`, despite: "In spite of ",
    all_disliked: "You dislike all of your titles that are known here. Name one that you like.",
    tooLarge: mib => `That file is larger than ${mib} MiB, too much for one person's list.`,
    filters: "Filters", tag: "Tag", years: "Years", from: "From", to: "To",
    hidden: n => `Left out: ${n}`, hiddenTitles: "Left out titles", restore: name => `List ${name} again`,
    start: "Name a few titles you like", startHint: "Three are enough for a first list. Some that many people know:",
    forYou: "For you", shelf: "New titles",
    shelfHint: "Nobody in these data had collected them; they are placed by what they are about.",
    status: (n, of, disliked) => `${n} ${n === 1 ? "title" : "titles"}, because of ${of} of yours`
      + (disliked === "0" ? "" : ` and ${disliked} that you dislike`),
    unknown: n => `${n} of the titles in this address are unknown here.`,
    none: "No title passes these filters. Remove a tag, or allow more years.",
    because: "Because of ", others: "others", similar: "Similar titles", add: "I like it", liked: "✓ Liked", hide: "Not for me",
    collectors: "Collected by the same people", text: "Alike in text", nothing: "None is known.",
    noMatch: "No name is like that.", remove: name => `Remove ${name}`, without: "without ",
    toggle: name => `With or without ${name}`, isNew: "new", filterBy: name => `Only titles with the tag ${name}`,
    close: "Close", retry: "Try again", footer: "What you choose stays in the address of this page.",
    api: "The JSON behind it", about: r => `${r.titles} titles, ${r.users} people, ${r.pairs} collected · ${r.name}`,
    offline: "The server does not answer. Is it still running?",
    none_known: "None of the titles in this address is known here. Search for some.",
    unreadable: "No list could be read from this file. Open the export of Bangumi, MyAnimeList or AniList as it was saved.",
    nothing_known: "The list was read, but none of its liked titles is known here.",
    unknown_tag: "No title has this tag. Choose one of those that are offered.",
    no_years: "These data do not know the years of titles.",
  },
  zh: {
    skip: "跳到列表", language: "语言", mine: "你的作品", search: "用任意名称搜索",
    clear: "全部移除", more: n => `还有 ${n} 部`, upload: "打开导出的列表",
    uploadHint: "也可以把文件拖到页面上。支持 Bangumi、MyAnimeList、AniList。只由本服务器读取，不会保存。",
    uploading: name => `正在读取 ${name} ……`,
    uploaded: a => a.rates
      ? `共 ${a.rows} 条，其中 ${a.collected} 部作为依据：喜欢 ${a.liked}，一般 ${a.neutral}，不喜欢 ${a.disliked}，未评分 `
        + `${a.unrated}；${a.excluded} 部想看，只是不再推荐；${a.unknown} 部不在库中。`
      : `共 ${a.rows} 条，其中 ${a.collected} 部作为依据，一视同仁，因为训练时没有使用评分；${a.excluded} 部是想看、抛弃或评分过低，`
        + `只是不再推荐；${a.unknown} 部不在库中。`,
    love: "很喜欢", like: "喜欢", dislike: "不喜欢", opinion: name => `你对 ${name} 的看法`,
    marksHint: "♥ 很喜欢，+ 喜欢，− 不喜欢：列表随之改变。", undo: "撤销",
    taste: "这份列表侧重", watch: "我会看的", loving: "我会很喜欢的",
    tastes: ["我会看的", "偏向我会看的", "两者兼顾", "偏向我会很喜欢的", "我会很喜欢的"],
    tasteHint: "用 ♥、+ 或 − 标记作品之后，它才会改变列表。",
    refused: name => `已标为不合口味：${name}。`, despite: "尽管不喜欢 ",
    all_disliked: "你的作品中，在库中的都不喜欢。请说一部你喜欢的。",
    tooLarge: mib => `文件超过 ${mib} MiB，不像是一个人的列表。`,
    filters: "筛选", tag: "标签", years: "年份", from: "从", to: "到",
    hidden: n => `已排除：${n}`, hiddenTitles: "已排除的作品", restore: name => `重新列出 ${name}`,
    start: "先说几部你喜欢的作品", startHint: "三部就能得到第一份列表。下面是很多人看过的：",
    forYou: "推荐给你", shelf: "新作品",
    shelfHint: "数据中还没有人收藏过，只凭内容推荐。",
    status: (n, of, disliked) => `${n} 部，依据你的 ${of} 部` + (disliked === "0" ? "" : `，以及不喜欢的 ${disliked} 部`),
    unknown: n => `地址中有 ${n} 部作品不在库中。`,
    none: "没有作品符合这些条件。去掉一个标签，或放宽年份。",
    because: "因为 ", others: "其他", similar: "相似作品", add: "喜欢", liked: "✓ 已喜欢", hide: "不合口味",
    collectors: "同样的人也收藏", text: "内容相近", nothing: "没有。",
    noMatch: "没有相近的名称。", remove: name => `移除 ${name}`, without: "不含 ",
    toggle: name => `含或不含 ${name}`, isNew: "新", filterBy: name => `只看标签 ${name}`,
    close: "关闭", retry: "重试", footer: "你的选择只保存在本页的地址里。",
    api: "背后的 JSON", about: r => `${r.titles} 部作品，${r.users} 人，${r.pairs} 条收藏 · ${r.name}`,
    offline: "服务器没有回应。它还在运行吗？",
    none_known: "地址中的作品都不在库中。请重新搜索。",
    unreadable: "无法从这个文件读出列表。请打开 Bangumi、MyAnimeList 或 AniList 导出的原文件。",
    nothing_known: "列表已读取，但其中喜欢的作品都不在库中。",
    unknown_tag: "没有作品带有这个标签。请从给出的标签中选择。",
    no_years: "这些数据没有年份。",
  },
};
