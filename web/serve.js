"use strict";
// The page of serve.py. What is asked for stands in the address, after #, and nowhere else: every change goes there, and
// every change of the address is shown. Names and tags are text of strangers: they reach the page as text alone.

const MAX_CHIPS = 12, MAX_TYPES = 12, MAX_K = 200, STEP = 20, LANE = 6;
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

// --- the server ---

class Problem extends Error {
  constructor(said, canHelp) { super(said); this.canHelp = canHelp; } // whether asking again may
}

async function ask(path, options = {}) {
  let reply, found;
  try {
    reply = await fetch(path, options);
    found = await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error; // it may come between the head of an answer and its body
    throw new Problem(t("offline"), true);
  }
  if (!reply.ok) throw new Problem(t(found.code) ?? found.message, reply.status >= 500);
  for (const one of [found.titles, found.new_titles, found.collected, found.excluded].flat())
    if (one?.subject_id) titles.set(one.subject_id, one);
  return found;
}

function latest() { // of several questions only the last one counts
  let current = null;
  return () => { current?.abort(); current = new AbortController(); return current.signal; };
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
    const query = input.value.trim(), found = await search(query);
    if (found === null) return;
    options = found;
    list.replaceChildren(...options.map((option, place) => {
      const node = make("li", { role: "option", id: `${list.id}-${place}`, lang: tongue(option.name) },
                        ...bold(option.name, query), make("small", {}, ...bold(option.more, query)));
      node.addEventListener("pointerdown", event => event.preventDefault()); // the text box keeps the focus
      node.addEventListener("click", () => take(option));
      return node;
    }));
    if (!options.length) list.append(make("li", { className: "nothing", textContent: t("noMatch") }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    list.scrollIntoView({ block: "nearest" });
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
      const people = one.collectors ? t("people", numbers(one.collectors)) : "";
      return { id: one.subject_id, name, more: [one.year, people, more].filter(Boolean).join(" · ") };
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
  if ($("wish") !== document.activeElement || !now.wish) $("wish").value = now.wish;
  const shown = showsAllPicked ? now.titles : now.titles.slice(0, MAX_CHIPS);
  keepFocus($("picked"), $("search"), () => $("picked").replaceChildren(...shown.map(id => picked(id, now.scores))));
  $("marks-hint").hidden = !now.titles.length || !run?.can.rates;
  $("more").hidden = shown.length === now.titles.length;
  $("more").textContent = t("more", now.titles.length - shown.length);
  $("clear").hidden = $("keeping").hidden = !now.titles.length;
  $("fold").textContent = t("fold", numbers(now.titles.length));
  document.body.classList.toggle("listed", now.titles.length > 0);
  keepFocus($("tags"), $("tag"), () => $("tags").replaceChildren(
    ...now.tags.map(tag => chip(tag, () => change({ tags: without(now.tags, tag), not_tags: [...now.not_tags, tag] }),
                                () => change({ tags: without(now.tags, tag) }), {}, t("toggle", tag))),
    ...now.not_tags.map(tag => chip(t("without") + tag, () => addTag(tag),
                                    () => change({ not_tags: without(now.not_tags, tag) }), { className: "without" },
                                    t("toggle", tag)))));
  $("from").value = now.min_year ?? "";
  $("to").value = now.max_year ?? "";
  showMadeAs(now);
  if (waysOut(now).length) $("filters").open = true;
  $("hidden").hidden = !now.exclude.length;
  $("hidden-count").textContent = t("hidden", now.exclude.length);
  keepFocus($("excluded"), $("search"), () => $("excluded").replaceChildren(...now.exclude.slice(0, 100).map(id =>
    chip(shownName(id), () => change({ similar: id }), () => change({ exclude: without(now.exclude, id) })))));
}

function showMadeAs(now) { // what titles were made as, and in which season they began, where the data say so
  const alike = (one, other) => one.toLowerCase() === other.toLowerCase();
  const more = (known, chosen) => [...known, ...chosen.filter(one => !known.some(other => alike(one, other)))];
  const types = more(run?.types.slice(0, MAX_TYPES) ?? [], now.types), season = now.season?.toLowerCase() ?? "";
  $("types-row").hidden = !run?.types.length;
  $("season-row").hidden = !run?.seasons.length;
  keepFocus($("types"), $("filters").firstElementChild, () => $("types").replaceChildren(...types.map(type => {
    const others = now.types.filter(one => !alike(one, type)), pressed = others.length < now.types.length;
    return button(t("type", type), () => change({ types: pressed ? others : [...others, type] }),
                  { ariaPressed: String(pressed) });
  })));
  $("season").replaceChildren(make("option", { value: "", textContent: t("anySeason") }),
    ...more(run?.seasons ?? [], season ? [season] : []).map(value =>
      make("option", { value, textContent: run.seasons.includes(value) ? t("seasonOf", ...value.split("-")) : value })));
  $("season").value = season;
}

function waysOut(now) { // of a list that filters leave empty
  const ways = { tags: now.tags.length + now.not_tags.length, years: run?.can.years !== false && (now.min_year ?? now.max_year) !== null,
                 types: run?.types.length !== 0 && now.types.length, season: run?.seasons.length !== 0 && now.season };
  return Object.keys(ways).filter(way => ways[way]);
}

function sentence(ways, or) {
  const said = ways.map(way => t("ways")[way]).join(or);
  return said[0].toUpperCase() + said.slice(1);
}

function showSliders(now) { // the taste counts as soon as something is marked
  for (const [id, said] of [["taste", "tastes"], ["niche", "niches"], ["words", "weights"]]) {
    if (Number($(id).value) !== now[id]) $(id).value = now[id];
    $(id).ariaValueText = t(said)[Math.round($(id).value / $(id).step)];
  }
  $("taste-row").hidden = !run?.can.taste || !now.titles.length;
  $("words-row").hidden = !now.wish || !now.titles.length;
  $("taste-hint").hidden = now.titles.some(id => now.scores.get(id));
  if ($("taste-hint").hidden) $("taste").removeAttribute("aria-describedby");
  else $("taste").setAttribute("aria-describedby", "taste-hint");
}

function fold(isFolded) { // on a narrow screen the list comes first
  document.body.classList.toggle("folded", isFolded);
  $("fold").ariaExpanded = String(!isFolded);
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

function showLast() { // what was said of a title, and the way back
  const isLast = last !== null && last.after === location.hash;
  $("refused").replaceChildren(...(isLast ? [t(last.key === "hide" ? "refused" : "marked", shownName(last.id), t(last.key)) + " ",
                                             button(t("undo"), takeBack, { className: "plain" })] : []));
}

const tell = said => $("refused").replaceChildren(said);

function keepFocus(list, otherwise, redraw) { // on what took the place of the button that was pressed
  const buttons = () => [...list.querySelectorAll("button")];
  const place = buttons().indexOf(document.activeElement);
  redraw();
  if (place >= 0) (buttons()[Math.min(place, buttons().length - 1)] ?? otherwise).focus();
}

// --- the lists ---

const listing = latest();

let asked = "", length = STEP; // what the list is of but for its length, and that
let asking = ""; // the question whose answer is on its way

function questionOf(now) {
  const of = map => Object.fromEntries(now.titles.filter(id => map.has(id)).map(id => [id, map.get(id)]));
  const year = key => run.can.years ? now[key] : null;
  return { titles: now.titles, scores: of(now.scores), times: of(now.times), exclude: now.exclude, tags: now.tags,
           not_tags: now.not_tags, min_year: year("min_year"), max_year: year("max_year"),
           types: run.types.length ? now.types : [], season: run.seasons.length ? now.season ?? "" : "", taste: now.taste,
           niche: now.niche, wish: run.can.wish ? now.wish : "", wish_weight: now.words, franchise: "first",
           new: run.can.new_titles, why: true };
}

const post = (question, signal) => ask("api/list", { method: "POST", body: JSON.stringify(question), signal,
                                                     headers: { "Content-Type": "application/json" } });

async function showLists(now) {
  const wanted = questionOf(now);
  if (JSON.stringify(wanted) !== asked) [asked, length] = [JSON.stringify(wanted), STEP];
  const question = JSON.stringify({ ...wanted, k: length }) + language;
  if (question === (asking || answered)) return;
  const signal = listing();
  const isAsked = now.titles.length > 0 || wanted.wish !== "";
  $("start").hidden = isAsked;
  if (!isAsked) {
    answered = asking = "";
    $("lists").hidden = $("error").hidden = true;
    return;
  }
  asking = question;
  $("lists").setAttribute("aria-busy", "true");
  try {
    const found = await post({ ...wanted, k: length }, signal);
    answered = question;
    fill("titles", found.titles);
    fill("new-titles", found.new_titles);
    $("longer").hidden = found.titles.length < length || length >= MAX_K;
    showStatus(now, found);
    $("error").hidden = true;
    $("lists").hidden = false;
    showMine(state()); // now with names
    showLast();
    await showLanes(wanted, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    $("lists").hidden = true;
    fail(error);
  } finally {
    if (!signal.aborted) {
      asking = "";
      $("lists").removeAttribute("aria-busy");
    }
  }
}

function fill(id, found) { // a list, which is not there where it is empty, but for the first
  keepFocus($(id), $("answer"), () => $(id).replaceChildren(...found.map(one => entry(one))));
  if (id === "titles") return;
  $(id).parentElement.hidden = !found.length;
  $(`to-${id}`).hidden = !found.length;
}

async function showLanes(wanted, signal) { // what goes on, and what few know of what is new to them
  const lane = more => post({ ...wanted, ...more, new: false, k: LANE }, signal);
  const [further, gems] = await Promise.all([lane({ franchise: "continue" }), lane({ franchise: "new", niche: 1 })]);
  fill("further", further.titles);
  fill("gems", gems.titles);
}

function showStatus(now, found) {
  const disliked = found.collected.filter(one => now.scores.get(one.subject_id) <= -1).length;
  const n = found.titles.length, { wish } = found;
  const parts = wish && [wish.wanted && t("wanted", wish.wanted), ...wish.unwanted.map(one => t("unwanted", one))];
  $("status").textContent = [!n ? t("none", waysOut(now)) : !found.collected.length ? t("counted", n)
                             : t("status", n, numbers(found.collected.length - disliked), numbers(disliked)),
                             wish ? t("asked", parts.filter(Boolean)) : "", wish?.by === "words" ? t("asWritten") : "",
                             found.n_unknown ? t("unknown", found.n_unknown) : ""].filter(Boolean).join(" ");
}

async function showMore() {
  const first = length;
  length = Math.min(MAX_K, length + STEP);
  await showLists(state());
  $("titles").children[first]?.querySelector("button").focus();
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
  $("notes").replaceChildren();
  $("told").textContent = t("uploading", file.name);
  try {
    const found = await ask(`api/upload?name=${encodeURIComponent(file.name.slice(-200))}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    const ids = side => found[side].map(one => one.subject_id), now = state();
    const told = t("uploaded", { rates: run.can.rates, rows: numbers(found.n_rows),
      collected: numbers(found.collected.length), excluded: numbers(found.excluded.length),
      unknown: numbers(found.n_unknown) + (found.n_unknown ? ` (${found.unknown.join("; ")}`
        + `${found.n_unknown > found.unknown.length ? "; …" : ""})` : ""),
      ...Object.fromEntries(Object.entries(found.tastes).map(([taste, n]) => [taste, numbers(n)])) });
    $("told").textContent = told;
    $("notes").replaceChildren(...found.notes.map(said => make("li", { textContent: `${said}.` })));
    fold(true);
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
  $("retry").hidden = !error.canHelp;
  $("error").hidden = false;
}

function showTexts() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = t(node.dataset.label);
  $("wish").placeholder = t("wishHint");
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
  showSliders(now);
  showLast();
  showLists(now);
  showSimilar(now);
}

async function begin() {
  recall();
  fold(state().titles.length > 0);
  showTexts();
  $("retry").onclick = () => { answered = ""; $("error").hidden = true; run ? show() : location.reload(); };
  try { run = await ask("api/run"); } catch (error) { fail(error); return; }
  showTexts();
  $("filters").hidden = !run.can.years && ![run.tags, run.types, run.seasons].some(known => known.length);
  $("years").hidden = !run.can.years;
  [$("from").min, $("from").max] = [$("to").min, $("to").max] = run.years ?? ["", ""];
  $("drop").hidden = !run.can.upload;
  choice($("search"), $("found"), findTitles, id => add(id));
  choice($("tag"), $("tags-found"), findTags, addTag);
  for (const [id, key] of [["from", "min_year"], ["to", "max_year"]])
    $(id).onchange = () => change({ [key]: /^\d{1,4}$/.test($(id).value) ? Number($(id).value) : null });
  $("season").onchange = () => change({ season: $("season").value || null });
  $("wish-row").hidden = !run.can.wish;
  $("wish-row").onsubmit = event => { event.preventDefault(); change({ wish: $("wish").value.trim() }); };
  $("wish").onchange = () => change({ wish: $("wish").value.trim() });
  for (const id of ["taste", "niche", "words"]) {
    $(id).oninput = () => showSliders({ ...state(), [id]: Number($(id).value) });
    $(id).onchange = () => change({ [id]: Number($(id).value) });
  }
  for (const id of ["further", "gems", "new-titles"]) $(`to-${id}`).onclick = () => {
    $(id).parentElement.scrollIntoView();
    $(id).querySelector("button").focus({ preventScroll: true });
  };
  $("longer").onclick = () => showMore().catch(fail);
  $("fold").onclick = () => fold(!document.body.classList.contains("folded"));
  $("copy").onclick = copyLink;
  $("save").onclick = save;
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
