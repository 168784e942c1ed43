"use strict";
// What the page of serve.py is asked for: the address holds it, buttons change it, the browser and files keep it.

// how much a title is liked, in spreads of a person's rates, as the server takes it: what is said, for which scores its
// button is pressed, the score that pressing it gives, and its sign
const MARKS = [["love", z => z >= 0.5, 1, "♥"], ["like", z => z >= 0 && z < 0.5, 0.3, "+"],
               ["dislike", z => z <= -1, -1.5, "−"]];
const LOVE = 1, LIKE = 0.3, DISLIKE = -1.5, LIMIT = 2.5;

const TASTE = 0.75, NICHE = 0.5, WORDS = 0.6; // those of an address without one

// --- what is asked for, in the address; after t=ID may stand z=SCORE and w=SECONDS, when it was collected ---

function state(hash = location.hash) {
  const words = new URLSearchParams(hash.slice(1));
  const year = key => /^\d{1,4}$/.test(words.get(key) ?? "") ? Number(words.get(key)) : null;
  const step = (key, otherwise) => /^(0(\.25|\.5|\.75)?|1)$/.test(words.get(key)) ? Number(words.get(key)) : otherwise;
  const fifths = /^(0(\.[2468])?|1)$/, all = key => [...new Set(words.getAll(key))];
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
           min_year: year("from"), max_year: year("to"), types: all("type"), season: words.get("season")?.slice(0, 100) || null, similar: words.get("s"),
           taste: step("taste", TASTE), niche: step("niche", NICHE),
           wish: (words.get("q") ?? "").trim().slice(0, 500), words: fifths.test(words.get("words")) ? Number(words.get("words"))
             : WORDS };
}

function change(changes) {
  const next = { ...state(), ...changes }, words = new URLSearchParams();
  for (const id of next.titles) {
    words.append("t", id);
    if (next.scores.has(id)) words.append("z", Number(next.scores.get(id).toFixed(2)));
    if (next.times.has(id)) words.append("w", next.times.get(id));
  }
  for (const [key, values] of [["x", next.exclude], ["tag", next.tags], ["no", next.not_tags],
                               ["from", [next.min_year]], ["to", [next.max_year]], ["type", next.types],
                               ["season", [next.season]], ["s", [next.similar]],
                               ["taste", [next.taste === TASTE ? null : next.taste]],
                               ["niche", [next.niche === NICHE ? null : next.niche]],
                               ["q", [next.wish || null]], ["words", [next.words === WORDS ? null : next.words]]])
    for (const value of values) if (value !== null) words.append(key, value);
  if (`#${words}` !== location.hash) location.hash = words;
  keep();
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
  if (run.can.rates) add(id, DISLIKE);
  else change({ exclude: [...state().exclude, id], titles: without(state().titles, id) });
}

// --- the last thing that was said of a listed title, and the way back ---

let last = null; // what was said, of which title, and the address before and after

function say(id, key, act) {
  const before = location.hash;
  act();
  last = { id, key, before, after: location.hash };
}

function takeBack() {
  location.hash = last.before;
  last = null;
  keep();
  $("answer").focus();
}

// --- what is kept: in this browser, which an address of somebody else leaves alone, and as a file ---

function keep() {
  try { localStorage.setItem("list", location.hash.replace(/(^#|&)s=[^&]*/, "$1")); } catch { /* forbidden to pages here */ }
}

function recall() {
  if (location.hash) return;
  try { history.replaceState(null, "", localStorage.getItem("list") || "#"); } catch { /* then it begins empty */ }
}

function asFile(now) { // as Shikimori exports lists, which recommend.py --new_user and the page itself read
  const entry = (id, status, score) => ({
    target_id: id, target_type: "Anime", target_title: titles.get(id)?.name ?? id, status,
    score: score ? Math.min(10, Math.max(1, Number((7 + 1.5 * score).toFixed(1)))) : 0,
    updated_at: now.times.has(id) ? new Date(1000 * now.times.get(id)).toISOString() : null });
  const seen = now.titles.map(id => now.scores.get(id) <= DISLIKE ? entry(id, "dropped")
                                                                   : entry(id, "completed", now.scores.get(id)));
  return JSON.stringify([...seen, ...now.exclude.map(id => entry(id, "planned"))], null, 1);
}

function save() {
  const address = URL.createObjectURL(new Blob([asFile(state())], { type: "application/json" }));
  make("a", { href: address, download: "my-titles.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function copyLink() {
  try { await navigator.clipboard.writeText(location.href); tell(t("copied")); } catch { tell(t("copyByHand")); }
}
