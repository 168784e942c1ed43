"use strict";
// The page of serve.py. What is asked for stands in the address, after #, and nowhere else: every change goes there, and
// every change of the address is shown. Names and tags are text of strangers: they reach the page as text alone.

const MAX_CHIPS = 12, MAX_TAGS = 6;
// how much a title is liked, in spreads of a person's rates, as the server takes it: what is said, for which scores its
// button is pressed, the score that pressing it gives, and its sign
const MARKS = [["love", z => z >= 0.5, 1, "♥"], ["like", z => z >= 0 && z < 0.5, 0.3, "+"],
               ["dislike", z => z <= -1, -1.5, "−"]];
const LIKE = 0.3, DISLIKE = -1.5, LIMIT = 2.5;

const $ = id => document.getElementById(id);
const TASTE = Number($("taste").defaultValue); // that of an address without one
const titles = new Map(); // subject_id -> title, of all that were ever received
const numbers = n => n.toLocaleString(language);
let run = null, language = chosenLanguage(), answered = "", showsAllPicked = false;
let refused = null; // subject_id of the title that was said last not to be for them

function t(key, ...words) {
  const text = TEXTS[language][key];
  return typeof text === "function" ? text(...words) : text;
}

function chosenLanguage() {
  let kept = null;
  try { kept = localStorage.getItem("language"); } catch { /* forbidden to pages here */ }
  return kept in TEXTS ? kept : navigator.languages.map(l => l.slice(0, 2)).find(l => l in TEXTS) ?? "en";
}

// --- what is asked for, in the address; after t=ID may stand z=SCORE and w=SECONDS, when it was collected ---

function state() {
  const words = new URLSearchParams(location.hash.slice(1));
  const year = key => /^\d{1,4}$/.test(words.get(key) ?? "") ? Number(words.get(key)) : null;
  const all = key => [...new Set(words.getAll(key))];
  const scores = new Map(), times = new Map();
  let last = null;
  for (const [key, value] of words) {
    if (key === "t") last = value;
    else if (/^-?\d{1,12}(\.\d+)?$/.test(value) && last !== null) {
      if (key === "z") scores.set(last, Math.min(LIMIT, Math.max(-LIMIT, Number(value))));
      if (key === "w") times.set(last, Number(value));
    }
  }
  return { titles: all("t"), scores, times, exclude: all("x"), tags: all("tag"), not_tags: all("no"),
           min_year: year("from"), max_year: year("to"), similar: words.get("s"),
           taste: /^(0(\.25|\.5|\.75)?|1)$/.test(words.get("taste")) ? Number(words.get("taste")) : TASTE };
}

function change(changes) {
  const next = { ...state(), ...changes }, words = new URLSearchParams();
  for (const id of next.titles) {
    words.append("t", id);
    if (next.scores.has(id)) words.append("z", Number(next.scores.get(id).toFixed(2)));
    if (next.times.has(id)) words.append("w", next.times.get(id));
  }
  for (const [key, values] of [["x", next.exclude], ["tag", next.tags], ["no", next.not_tags],
                               ["from", [next.min_year]], ["to", [next.max_year]], ["s", [next.similar]],
                               ["taste", [next.taste === TASTE ? null : next.taste]]])
    for (const value of values) if (value !== null) words.append(key, value);
  if (`#${words}` !== location.hash) location.hash = words;
}

const without = (list, gone) => list.filter(one => one !== gone);
const seconds = () => Math.round(Date.now() / 1000);

function add(id, score = null) { // where dates are known, as the newest
  const now = state();
  if (score !== null && run.can.rates) now.scores.set(id, score);
  if (now.times.size) now.times.set(id, seconds());
  change({ ...now, titles: [...without(now.titles, id), id], exclude: without(now.exclude, id) });
}

const drop = id => change({ titles: without(state().titles, id) });

function mark(id, score) { // null takes it back
  const { scores } = state();
  score === null ? scores.delete(id) : scores.set(id, score);
  change({ scores });
}

function refuse(id) { // a dislike; a run that knows no rates can only leave it out
  refused = id;
  if (run.can.rates) add(id, DISLIKE);
  else change({ exclude: [...state().exclude, id], titles: without(state().titles, id) });
}

function accept() {
  const id = refused;
  refused = null;
  change({ titles: without(state().titles, id), exclude: without(state().exclude, id) });
  $("answer").focus();
}

// --- the server ---

class Problem extends Error {}

async function ask(path, options = {}) {
  let reply, found;
  try {
    reply = await fetch(path, options);
    found = await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error; // it may come between the head of an answer and its body
    throw new Problem(t("offline"));
  }
  if (!reply.ok) throw new Problem(t(found.code) ?? found.message);
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

const addTag = tag => change({ tags: [...state().tags, tag], not_tags: without(state().not_tags, tag), similar: null });

// --- the side of what is asked ---

function showMine(now) {
  const shown = showsAllPicked ? now.titles : now.titles.slice(0, MAX_CHIPS);
  keepFocus($("picked"), $("search"), () => $("picked").replaceChildren(...shown.map(id => picked(id, now.scores))));
  $("marks-hint").hidden = !now.titles.length || !run?.can.rates;
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

function showTaste(now) { // which counts as soon as something is marked
  $("taste-row").hidden = !run?.can.taste;
  if (Number($("taste").value) !== now.taste) $("taste").value = now.taste;
  $("taste").ariaValueText = t("tastes")[4 * $("taste").value];
  $("taste-hint").hidden = now.titles.some(id => now.scores.get(id));
  if ($("taste-hint").hidden) $("taste").removeAttribute("aria-describedby");
  else $("taste").setAttribute("aria-describedby", "taste-hint");
}

function picked(id, scores) { // a chip, with what they think of it
  const name = shownName(id), node = chip(name, () => change({ similar: id }), () => drop(id));
  if (run?.can.rates) node.lastChild.before(make(
    "span", { className: "marks", role: "group", ariaLabel: t("opinion", name) }, ...MARKS.map(([key, fits, score, sign]) => {
      const pressed = scores.has(id) && fits(scores.get(id));
      return button(sign, () => mark(id, pressed ? null : score), { title: t(key), ariaPressed: String(pressed),
                                                                    ariaLabel: `${t(key)}: ${name}` });
    })));
  return node;
}

function showRefused(now) { // and the way back
  const isRefused = refused !== null && (now.exclude.includes(refused) || now.scores.get(refused) === DISLIKE
                                         && now.titles.includes(refused));
  $("refused").replaceChildren(...(isRefused ? [t("refused", shownName(refused)) + " ",
                                                button(t("undo"), accept, { className: "plain" })] : []));
}

function keepFocus(list, otherwise, redraw) { // on what took the place of the button that was pressed
  const buttons = () => [...list.querySelectorAll("button")];
  const place = buttons().indexOf(document.activeElement);
  redraw();
  if (place >= 0) (buttons()[Math.min(place, buttons().length - 1)] ?? otherwise).focus();
}

// --- the lists ---

function entry(one, acts = [["similar", () => change({ similar: one.subject_id })], ["add", () => add(one.subject_id, LIKE)],
                            ["hide", () => refuse(one.subject_id)]]) {
  const [name, others] = names(one.name);
  const meta = make("p", { className: "meta" }, one.is_new ? make("span", { className: "badge", textContent: t("isNew") })
    : null, one.year ? make("span", { textContent: one.year }) : null, ...one.tags.slice(0, MAX_TAGS).map(tag =>
      button(tag, () => addTag(tag), { ariaLabel: t("filterBy", tag), lang: tongue(tag) })));
  return make("li", {}, make("h3", { textContent: name, lang: tongue(name) }),
              others ? make("span", { className: "names", textContent: others, lang: tongue(others) }) : null, meta,
              ...reasons(one.because), ...objections(one.despite), make("div", { className: "acts" }, ...acts.map(([key, act]) =>
                button(t(key), act, { ariaLabel: `${t(key)}: ${name}` }))));
}

const named = all => all.flatMap((one, place) => [
  place ? (language === "zh" ? "、" : ", ") : "",
  make("span", { className: `dot c${place}`, textContent: names(one.name)[0], lang: tongue(names(one.name)[0]) })]);

function objections(despite) { // disliked titles that spoke against it
  if (!despite.length) return [];
  const sentence = make("p", { className: "because despite" }, t("despite"), ...named(despite));
  for (const node of sentence.children) node.className = ""; // they have no part in the bar
  return [sentence];
}

function reasons(because) {
  if (!because.length) return [];
  const percent = share => share.toLocaleString(language, { style: "percent" });
  const rest = 1 - because.reduce((sum, one) => sum + one.share, 0);
  const sentence = make("p", { className: "because" }, t("because"), ...named(because));
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
  const of = map => Object.fromEntries(now.titles.filter(id => map.has(id)).map(id => [id, map.get(id)]));
  const wanted = { titles: now.titles, scores: of(now.scores), times: of(now.times), exclude: now.exclude, tags: now.tags, not_tags: now.not_tags,
                   min_year: now.min_year, max_year: now.max_year, taste: now.taste, new: run.can.new_titles, why: true };
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
    const disliked = found.collected.filter(one => now.scores.get(one.subject_id) <= -1).length;
    $("status").textContent = [found.titles.length ? t("status", found.titles.length,
                                                       numbers(found.collected.length - disliked), numbers(disliked))
                               : t("none"), found.n_unknown ? t("unknown", found.n_unknown) : ""].join(" ");
    $("shelf").hidden = !found.new_titles.length;
    $("error").hidden = true;
    $("lists").hidden = false;
    showMine(state()); // now with names
    showRefused(state());
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
    const acts = one => [["similar", () => change({ similar: one.subject_id })],
                         now.titles.includes(one.subject_id) ? ["liked", () => drop(one.subject_id)]
                           : ["add", () => add(one.subject_id, LIKE)]];
    const side = key => make("section", {}, make("h3", { textContent: t(key) }), found[key].length
      ? make("ol", {}, ...found[key].map(one => entry(one, acts(one)))) : make("p", { textContent: t("nothing") }));
    keepFocus($("sides"), $("close"), () =>
      $("sides").replaceChildren(side("collectors"), ...(run.can.text ? [side("text")] : [])));
    if (!dialog.open) dialog.showModal();
    if (dialog.dataset.of !== now.similar) dialog.scrollTop = 0;
    dialog.dataset.of = now.similar;
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
    const told = t("uploaded", { rates: run.can.rates, rows: numbers(found.n_rows),
      collected: numbers(found.collected.length), excluded: numbers(found.excluded.length),
      unknown: numbers(found.n_unknown) + (found.n_unknown ? ` (${found.unknown.join("; ")}`
        + `${found.n_unknown > found.unknown.length ? "; …" : ""})` : ""),
      ...Object.fromEntries(Object.entries(found.tastes).map(([taste, n]) => [taste, numbers(n)])) });
    $("told").textContent = [told, ...found.notes.map(said => `${said}.`)].join(" ");
    const dated = found.collected.some(one => one.time !== null);
    if (dated) for (const id of now.titles) if (!now.times.has(id)) now.times.set(id, seconds());
    for (const one of found.collected) {
      if (one.score) now.scores.set(one.subject_id, one.score);
      if (one.time !== null) now.times.set(one.subject_id, one.time);
    }
    change({ ...now, titles: [...now.titles, ...ids("collected")], exclude: [...now.exclude, ...ids("excluded")] });
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
  showTaste(now);
  showRefused(now);
  showLists(now);
  showSimilar(now);
}

async function begin() {
  showTexts();
  $("retry").onclick = () => { answered = ""; $("error").hidden = true; run ? show() : location.reload(); };
  try { run = await ask("api/run"); } catch (error) { fail(error); return; }
  showTexts();
  $("filters").hidden = !run.can.years && !run.tags.length;
  $("years").hidden = !run.can.years;
  [$("from").min, $("from").max] = [$("to").min, $("to").max] = run.years ?? ["", ""];
  $("drop").hidden = !run.can.upload;
  choice($("search"), $("found"), findTitles, id => add(id));
  choice($("tag"), $("tags-found"), findTags, addTag);
  for (const [id, key] of [["from", "min_year"], ["to", "max_year"]])
    $(id).onchange = () => change({ [key]: /^\d{1,4}$/.test($(id).value) ? Number($(id).value) : null });
  $("taste").oninput = () => showTaste({ ...state(), taste: Number($("taste").value) });
  $("taste").onchange = () => change({ taste: Number($("taste").value) });
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
