"use strict";
// The page of serve.py. What is asked for stands in the address, after #, and nowhere else: every change goes there, and
// every change of the address is shown. Names and tags are text of strangers: they reach the page as text alone.

// --- texts, by language ---

const TEXTS = {
  en: {
    skip: "To the list", language: "Language", mine: "Titles you like", search: "Search by any name",
    clear: "Remove all", more: n => `${n} more`, upload: "Open an exported list",
    uploadHint: "Or drop it anywhere here. From Bangumi, MyAnimeList or AniList. It is read by this server and not kept.",
    uploading: name => `Reading ${name} …`,
    uploaded: a => `${a.collected} of ${a.rows} entries are known here and count as liked; ${a.excluded} planned, `
      + `dropped or rated low are only left out; ${a.unknown} are unknown here.`,
    tooLarge: mib => `That file is larger than ${mib} MiB, too much for one person's list.`,
    filters: "Filters", tag: "Tag", years: "Years", from: "From", to: "To",
    hidden: n => `Left out: ${n}`, hiddenTitles: "Left out titles", restore: name => `List ${name} again`,
    start: "Name a few titles you like", startHint: "Three are enough for a first list. Some that many people know:",
    forYou: "For you", shelf: "On the new shelf",
    shelfHint: "Nobody in these data has collected them yet; they are placed by what they are about.",
    status: (n, of) => `${n} ${n === 1 ? "title" : "titles"}, because of ${of} of yours`,
    unknown: n => `${n} of the titles in this address are unknown here.`,
    none: "No title passes these filters. Remove a tag, or allow more years.",
    because: "Because of ", others: "others", similar: "Similar titles", add: "I like it", hide: "Leave out",
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
    skip: "跳到列表", language: "语言", mine: "你喜欢的作品", search: "用任意名称搜索",
    clear: "全部移除", more: n => `还有 ${n} 部`, upload: "打开导出的列表",
    uploadHint: "也可以把文件拖到页面上。支持 Bangumi、MyAnimeList、AniList。只由本服务器读取，不会保存。",
    uploading: name => `正在读取 ${name} ……`,
    uploaded: a => `共 ${a.rows} 条，其中 ${a.collected} 部在库中，算作喜欢；${a.excluded} 部是想看、抛弃或评分过低，只是不再推荐；`
      + `${a.unknown} 部不在库中。`,
    tooLarge: mib => `文件超过 ${mib} MiB，不像是一个人的列表。`,
    filters: "筛选", tag: "标签", years: "年份", from: "从", to: "到",
    hidden: n => `已排除：${n}`, hiddenTitles: "已排除的作品", restore: name => `重新列出 ${name}`,
    start: "先说几部你喜欢的作品", startHint: "三部就能得到第一份列表。下面是很多人看过的：",
    forYou: "推荐给你", shelf: "新作架",
    shelfHint: "数据中还没有人收藏过它们，只凭内容推荐。",
    status: (n, of) => `${n} 部，依据你的 ${of} 部`,
    unknown: n => `地址中有 ${n} 部作品不在库中。`,
    none: "没有作品符合这些条件。去掉一个标签，或放宽年份。",
    because: "因为 ", others: "其他", similar: "相似作品", add: "喜欢", hide: "排除",
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
const LANGUAGES = { en: "English", zh: "中文" };
const MAX_CHIPS = 12, MAX_TAGS = 6;

const $ = id => document.getElementById(id);
const titles = new Map(); // subject_id -> title, of all that were ever received
const numbers = n => n.toLocaleString(language);
let run = null, language = chosenLanguage(), answered = "", showsAllPicked = false;

function t(key, ...words) {
  const text = TEXTS[language][key];
  return typeof text === "function" ? text(...words) : text;
}

function chosenLanguage() {
  let kept = null;
  try { kept = localStorage.getItem("language"); } catch { /* forbidden to pages here */ }
  return kept in TEXTS ? kept : navigator.languages.map(l => l.slice(0, 2)).find(l => l in TEXTS) ?? "en";
}

// --- what is asked for, in the address ---

function state() {
  const words = new URLSearchParams(location.hash.slice(1));
  const year = key => /^\d{1,4}$/.test(words.get(key) ?? "") ? Number(words.get(key)) : null;
  const all = key => [...new Set(words.getAll(key))];
  return { titles: all("t"), exclude: all("x"), tags: all("tag"), not_tags: all("no"),
           min_year: year("from"), max_year: year("to"), similar: words.get("s") };
}

function change(changes) {
  const next = { ...state(), ...changes }, words = new URLSearchParams();
  for (const [key, values] of [["t", next.titles], ["x", next.exclude], ["tag", next.tags], ["no", next.not_tags],
                               ["from", [next.min_year]], ["to", [next.max_year]], ["s", [next.similar]]])
    for (const value of values) if (value !== null) words.append(key, value);
  if (`#${words}` !== location.hash) location.hash = words;
}

const without = (list, gone) => list.filter(one => one !== gone);
const add = id => change({ titles: [...state().titles, id], exclude: without(state().exclude, id) });
const drop = id => change({ titles: without(state().titles, id) });
const hide = id => change({ exclude: [...state().exclude, id], titles: without(state().titles, id) });

// --- the server ---

class Problem extends Error {}

async function ask(path, options = {}) {
  let reply;
  try { reply = await fetch(path, options); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(t("offline"));
  }
  const found = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Problem(t(found.code) ?? found.message ?? t("offline"));
  for (const one of [found.titles, found.new_titles, found.collected, found.excluded].flat())
    if (one?.subject_id) titles.set(one.subject_id, one);
  return found;
}

const post = (path, body, type) => ask(path, { method: "POST", body, headers: { "Content-Type": type } });

function latest() { // of several questions only the last one counts
  let current = null;
  return () => { current?.abort(); current = new AbortController(); return current.signal; };
}

// --- making elements; text is only ever text ---

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties))
    key in node ? node[key] = value : node.setAttribute(key, value);
  node.append(...children.filter(child => child !== null));
  return node;
}

const button = (text, onclick, properties = {}) => make("button", { type: "button", textContent: text, onclick,
                                                                    ...properties });
const han = name => /\p{Script=Han}/u.test(name), kana = name => /[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(name);

function names(name) { // the one to show first in this language, and the others
  const all = name.split(" / ");
  const fits = language === "zh" ? one => han(one) && !kana(one) : one => /\p{Script=Latin}/u.test(one) && !han(one);
  const first = all.find(fits) ?? all[0];
  return [first, all.filter(one => one !== first).join(" / ")];
}

const shownName = id => titles.has(id) ? names(titles.get(id).name)[0] : id;
const tongue = name => kana(name) ? "ja" : han(name) ? "zh" : "";

function chip(name, onclick, onremove, properties = {}) {
  return make("li", properties, button(name, onclick, { lang: tongue(name) }),
              button("×", onremove, { className: "x", ariaLabel: t("remove", name) }));
}

// --- a text box with a list to choose from ---

function choice(input, list, search, pick) {
  let options = [], active = -1, timer = 0;

  function close() {
    clearTimeout(timer);
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    options = [];
  }
  function point(to) {
    active = to;
    [...list.children].forEach((node, place) => node.setAttribute("aria-selected", String(place === active)));
    list.children[active]?.scrollIntoView({ block: "nearest" });
    if (options.length) input.setAttribute("aria-activedescendant", list.children[active].id);
  }
  function take(option) {
    input.value = "";
    close();
    pick(option.id);
  }
  async function open() {
    const found = await search(input.value.trim());
    if (found === null) return;
    options = found;
    list.replaceChildren(...options.map((option, place) => {
      const node = make("li", { role: "option", id: `${list.id}-${place}`, lang: tongue(option.name) }, option.name,
                        make("small", { textContent: option.more }));
      node.addEventListener("pointerdown", event => event.preventDefault()); // the text box keeps the focus
      node.addEventListener("click", () => take(option));
      return node;
    }));
    if (!options.length) list.append(make("li", { className: "nothing", textContent: t("noMatch") }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    point(0);
  }
  input.addEventListener("input", () => {
    clearTimeout(timer);
    if (input.value.trim()) timer = setTimeout(() => open().catch(fail), 120);
    else close();
  });
  input.addEventListener("keydown", event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && options.length) point((active + step + options.length) % options.length);
    else if (event.key === "Enter" && options.length) take(options[active]);
    else if (event.key === "Escape" && !list.hidden) close();
    else return;
    event.preventDefault();
  });
  input.addEventListener("blur", close);
}

const searching = latest();

async function findTitles(query) {
  const signal = searching();
  try {
    const found = await ask(`api/titles?n=8&q=${encodeURIComponent(query)}`, { signal });
    return found.titles.map(one => {
      const [name, more] = names(one.name);
      return { id: one.subject_id, name, more: [one.year, more].filter(Boolean).join(" · ") };
    });
  } catch (error) { if (error.name === "AbortError") return null; throw error; }
}

async function findTags(query) {
  const word = query.toLowerCase(), has = run.tags.filter(tag => tag.name.toLowerCase().includes(word));
  has.sort((a, b) => b.name.toLowerCase().startsWith(word) - a.name.toLowerCase().startsWith(word));
  return has.slice(0, 8).map(tag => ({ id: tag.name, name: tag.name, more: numbers(tag.n_titles) }));
}

const addTag = tag => change({ tags: [...state().tags, tag], not_tags: without(state().not_tags, tag) });

// --- the side of what is asked ---

function showMine(now) {
  const shown = showsAllPicked ? now.titles : now.titles.slice(0, MAX_CHIPS);
  keepFocus($("picked"), $("search"), () => $("picked").replaceChildren(...shown.map(id =>
    chip(shownName(id), () => change({ similar: id }), () => drop(id)))));
  $("more").hidden = shown.length === now.titles.length;
  $("more").textContent = t("more", now.titles.length - shown.length);
  $("clear").hidden = !now.titles.length;
  keepFocus($("tags"), $("tag"), () => $("tags").replaceChildren(
    ...now.tags.map(tag => chip(tag, () => change({ tags: without(now.tags, tag), not_tags: [...now.not_tags, tag] }),
                                () => change({ tags: without(now.tags, tag) }))),
    ...now.not_tags.map(tag => chip(t("without") + tag, () => addTag(tag),
                                    () => change({ not_tags: without(now.not_tags, tag) }), { className: "without" }))));
  for (const node of $("tags").querySelectorAll("button:first-child")) node.title = t("toggle", node.textContent);
  $("from").value = now.min_year ?? "";
  $("to").value = now.max_year ?? "";
  if (now.tags.length + now.not_tags.length || now.min_year !== null || now.max_year !== null) $("filters").open = true;
  $("hidden").hidden = !now.exclude.length;
  $("hidden-count").textContent = t("hidden", now.exclude.length);
  keepFocus($("excluded"), $("search"), () => $("excluded").replaceChildren(...now.exclude.slice(0, 100).map(id =>
    chip(shownName(id), () => change({ similar: id }), () => change({ exclude: without(now.exclude, id) })))));
}

function keepFocus(list, otherwise, redraw) { // on what took the place of the button that was pressed
  const buttons = () => [...list.querySelectorAll("button")];
  const place = buttons().indexOf(document.activeElement);
  redraw();
  if (place >= 0) (buttons()[Math.min(place, buttons().length - 1)] ?? otherwise).focus();
}

// --- the lists ---

function entry(one, acts = [["similar", () => change({ similar: one.subject_id })], ["add", () => add(one.subject_id)],
                            ["hide", () => hide(one.subject_id)]]) {
  const [name, others] = names(one.name);
  const meta = make("p", { className: "meta" }, one.is_new ? make("span", { className: "badge", textContent: t("isNew") })
    : null, one.year ? make("span", { textContent: one.year }) : null, ...one.tags.slice(0, MAX_TAGS).map(tag =>
      button(tag, () => addTag(tag), { ariaLabel: t("filterBy", tag), lang: tongue(tag) })));
  return make("li", {}, make("h3", { textContent: name, lang: tongue(name) }),
              others ? make("span", { className: "names", textContent: others, lang: tongue(others) }) : null, meta,
              ...reasons(one.because), make("div", { className: "acts" }, ...acts.map(([key, act]) =>
                button(t(key), act, { ariaLabel: `${t(key)}: ${name}` }))));
}

function reasons(because) {
  if (!because.length) return [];
  const percent = share => share.toLocaleString(language, { style: "percent" });
  const rest = 1 - because.reduce((sum, one) => sum + one.share, 0);
  const sentence = make("p", { className: "because" }, t("because"));
  because.forEach((one, place) => sentence.append(
    place ? (language === "zh" ? "、" : ", ") : "",
    make("span", { className: `dot c${place}`, textContent: names(one.name)[0], lang: tongue(names(one.name)[0]) })));
  const shares = [...because.map((one, place) => [names(one.name)[0], one.share, place]), [t("others"), rest, 3]]
    .filter(([, share]) => share > 0.005);
  const bar = make("div", { className: "shares", role: "img",
                            ariaLabel: shares.map(([name, share]) => `${name} ${percent(share)}`).join(", ") });
  for (const [name, share, place] of shares) {
    const part = make("i", { className: `c${place}`, title: `${name} ${percent(share)}` });
    part.style.flexGrow = share;
    bar.append(part);
  }
  return [sentence, bar];
}

const listing = latest();

async function showLists(now) {
  const wanted = { titles: now.titles, exclude: now.exclude, tags: now.tags, not_tags: now.not_tags,
                   min_year: now.min_year, max_year: now.max_year, new: run.can.new_titles, why: true };
  const question = JSON.stringify(wanted), signal = listing();
  $("start").hidden = now.titles.length > 0;
  if (!now.titles.length) {
    answered = "";
    $("lists").hidden = $("error").hidden = true;
    return;
  }
  if (question + language === answered) return;
  $("lists").setAttribute("aria-busy", "true");
  try {
    const found = await ask("api/list", { method: "POST", body: question, signal,
                                          headers: { "Content-Type": "application/json" } });
    answered = question + language;
    for (const name of ["titles", "new_titles"])
      keepFocus($(name.replace("_", "-")), $("answer"), () =>
        $(name.replace("_", "-")).replaceChildren(...found[name].map(one => entry(one))));
    $("status").textContent = [found.titles.length ? t("status", found.titles.length, numbers(found.collected.length))
                               : t("none"), found.n_unknown ? t("unknown", found.n_unknown) : ""].join(" ");
    $("shelf").hidden = !found.new_titles.length;
    $("error").hidden = true;
    $("lists").hidden = false;
    showMine(state()); // now with names
  } catch (error) {
    if (error.name === "AbortError") return;
    $("lists").hidden = true;
    fail(error);
  } finally { if (!signal.aborted) $("lists").removeAttribute("aria-busy"); }
}

// --- similar titles ---

const comparing = latest();

async function showSimilar(now) {
  const dialog = $("similar"), signal = comparing();
  if (!now.similar) { dialog.close(); return; }
  try {
    const found = await ask(`api/similar/${encodeURIComponent(now.similar)}?k=8`, { signal });
    const [name] = names(found.title.name);
    titles.set(found.title.subject_id, found.title);
    $("similar-heading").textContent = `${t("similar")}: ${name}`;
    $("sides").replaceChildren(...["collectors", "text"].filter(side => side === "collectors" || run.can.text).map(side =>
      make("section", {}, make("h3", { textContent: t(side) }), found[side].length ? make("ol", {}, ...found[side].map(
        one => entry(one, [["similar", () => change({ similar: one.subject_id })],
                           ["add", () => add(one.subject_id)]]))) : make("p", { textContent: t("nothing") }))));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  } catch (error) { if (error.name !== "AbortError") fail(error); }
}

// --- an exported list ---

async function upload(file) {
  if (!file) return;
  if (file.size > run.max_upload_mib * 2 ** 20) { $("told").textContent = t("tooLarge", run.max_upload_mib); return; }
  $("told").textContent = t("uploading", file.name);
  try {
    const found = await post(`api/upload?name=${encodeURIComponent(file.name.slice(-200))}`, file,
                             "application/octet-stream");
    const ids = side => found[side].map(one => one.subject_id), now = state();
    $("told").textContent = t("uploaded", { rows: numbers(found.n_rows), collected: numbers(found.collected.length),
                                            excluded: numbers(found.excluded.length), unknown: numbers(found.n_unknown) });
    change({ titles: [...now.titles, ...ids("collected")], exclude: [...now.exclude, ...ids("excluded")] });
  } catch (error) { $("told").textContent = error.message; }
}

// --- the page ---

function fail(error) {
  if (!(error instanceof Problem)) throw error;
  $("error-text").textContent = error.message;
  $("error").hidden = false;
}

function showTexts() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = t(node.dataset.label);
  $("languages").replaceChildren(...Object.entries(LANGUAGES).map(([key, name]) =>
    button(name, () => speak(key), { ariaPressed: String(key === language), lang: key })));
  $("about").textContent = run && t("about", { titles: numbers(run.n_titles), users: numbers(run.n_users),
                                               pairs: numbers(run.n_collected), name: run.name });
}

function speak(next) {
  language = next;
  try { localStorage.setItem("language", next); } catch { /* then it lasts as long as the page */ }
  showTexts();
  $("languages").querySelector("[aria-pressed=true]").focus();
  show();
  showPopular().catch(fail);
}

async function showPopular() {
  const found = await ask("api/titles?n=12");
  $("popular").replaceChildren(...found.titles.map(one => {
    const [name, more] = names(one.name);
    return make("li", {}, make("button", { type: "button", onclick: () => { add(one.subject_id); $("search").focus(); } },
                               make("span", { textContent: name, lang: tongue(name) }),
                               make("small", { textContent: more, lang: tongue(more) })));
  }));
}

function show() {
  const now = state();
  showMine(now);
  showLists(now);
  showSimilar(now);
}

async function begin() {
  showTexts();
  $("retry").onclick = () => { answered = ""; $("error").hidden = true; run ? show() : location.reload(); };
  try { run = await ask("api/run"); } catch (error) { fail(error); return; }
  showTexts();
  $("years").hidden = !run.can.years;
  [$("from").min, $("from").max] = [$("to").min, $("to").max] = run.years ?? ["", ""];
  $("drop").hidden = !run.can.upload;
  choice($("search"), $("found"), findTitles, id => add(id));
  choice($("tag"), $("tags-found"), findTags, addTag);
  for (const [id, key] of [["from", "min_year"], ["to", "max_year"]])
    $(id).onchange = () => change({ [key]: /^\d{1,4}$/.test($(id).value) ? Number($(id).value) : null });
  $("clear").onclick = () => { change({ titles: [] }); $("search").focus(); };
  $("more").onclick = () => { showsAllPicked = true; showMine(state()); };
  $("skip").onclick = () => $("answer").focus();
  $("close").onclick = () => $("similar").close();
  $("similar").onclose = () => change({ similar: null });
  $("file").onchange = () => { upload($("file").files[0]); $("file").value = ""; };
  for (const kind of ["dragover", "dragleave", "drop"]) addEventListener(kind, event => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop") upload(event.dataTransfer.files[0]);
  });
  addEventListener("hashchange", show);
  show();
  showPopular().catch(fail);
}

begin();
