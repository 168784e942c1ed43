"use strict";
// How the page of serve.py shows a title: by name, tile and synopsis, with what it follows and the reasons for it.

const MAX_TAGS = 6, MOST_UNTOLD = 0.6;

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

function chip(name, onclick, onremove, properties = {}, title = "") {
  return make("li", properties, button(name, onclick, { lang: tongue(name), title }),
              button("×", onremove, { className: "x", ariaLabel: t("remove", name) }));
}

// --- a title in a list ---

function entry(one, acts = actsOf(one)) {
  const [name, others] = names(one.name);
  const meta = make("p", { className: "meta" }, one.is_new ? make("span", { className: "badge", textContent: t("isNew") })
    : null, ...[t("type", one.type), one.year].filter(Boolean).map(textContent => make("span", { textContent })),
    one.collectors ? make("span", { textContent: t("people", numbers(one.collectors)) }) : null,
    ...one.pages.map(page => make("a", { href: page.address, textContent: page.site, rel: "noreferrer", target: "_blank" })),
    ...one.tags.slice(0, MAX_TAGS).map(tag =>
      button(tag, () => addTag(tag), { ariaLabel: t("filterBy", tag), lang: tongue(tag) })));
  return make("li", {}, tile(name), make("div", { className: "body" },
    make("h3", { textContent: name, lang: tongue(name) }),
    others ? make("span", { className: "names", textContent: others, lang: tongue(others) }) : null,
    ...series(one), meta, ...synopsis(one, name), ...saying(one), ...reasons(one.because), ...objections(one.despite),
    make("div", { className: "acts" }, ...acts.map(([key, act]) =>
      button(t(key), act, { ariaLabel: `${t(key)}: ${name}`, className: key })))));
}

function actsOf(one) { // where no rates are known, all that is liked counts alike
  const id = one.subject_id, said = (key, score) => [key, () => say(id, key, () => add(id, score))];
  return [...(run.can.rates ? [said("love", LOVE)] : []), said("add", LIKE), ...(run.can.rates ? [said("seen", null)] : []),
          ["hide", () => say(id, "hide", () => refuse(id))], ["similar", () => change({ similar: id })]];
}

function tile(name) { // in place of a picture; the colour is the name's
  let hue = 0;
  for (const sign of name) hue = (hue * 31 + sign.codePointAt(0)) % 360;
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [name], first = words.map(word => [...word][0]);
  const node = make("div", { className: "tile", ariaHidden: "true",
                             textContent: han(name) || kana(name) ? first[0] : first.slice(0, 2).join("").toUpperCase() });
  node.style.setProperty("--hue", hue);
  return node;
}

function series(one) { // what it goes on from, and what else there is of it
  if (!one.after && !one.more) return [];
  const parts = make("ol", { className: "parts", hidden: true, id: `parts-${Math.random().toString(36).slice(2)}` });
  const more = one.more && button(t("moreParts", one.more), () => unfold(one, more, parts).catch(fail),
                                  { className: "plain", ariaExpanded: "false" });
  if (more) more.setAttribute("aria-controls", parts.id);
  return [make("p", { className: "series" }, one.after ? t("after", names(one.after.name)[0]) : "",
               one.after && more ? " · " : "", more || ""), parts];
}

async function unfold(one, more, parts) {
  if (!parts.children.length) {
    const found = await ask(`api/franchise/${encodeURIComponent(one.subject_id)}`);
    parts.append(...found.titles.map(part => {
      const [name] = names(part.name), have = state().titles.includes(part.subject_id);
      return make("li", {}, button(name, () => change({ similar: part.subject_id }), { className: "plain", lang: tongue(name) }),
                  make("small", { textContent: [part.year, have ? t("have") : ""].filter(Boolean).join(" · ") }));
    }));
  }
  parts.hidden = !parts.hidden;
  more.ariaExpanded = String(!parts.hidden);
}

const cut = new ResizeObserver(all => { // what fits into two lines cannot be opened
  for (const { target } of all) if (!target.classList.contains("open"))
    target.nextSibling.hidden = target.scrollHeight <= target.clientHeight;
});

function synopsis(one, name) { // two lines, and the rest on request
  if (!one.synopsis) return [];
  const said = make("p", { className: "synopsis", textContent: one.synopsis, lang: tongue(one.synopsis) });
  const open = button(t("readOn"), () => {
    const isOpen = said.classList.toggle("open");
    open.textContent = t(isOpen ? "readLess" : "readOn");
    open.ariaExpanded = String(isOpen);
  }, { className: "plain readon", ariaExpanded: "false", ariaDescription: name, hidden: true });
  cut.observe(said);
  return [said, open];
}

function bold(text, query) { // the text as nodes, with what was looked for in bold
  const small = text.toLowerCase(), word = [query, ...query.split(/\s+/)].map(one => one.toLowerCase())
    .find(one => one && small.includes(one));
  if (!word || small.length !== text.length) return [text];
  const at = small.indexOf(word);
  return [text.slice(0, at), make("b", { textContent: text.slice(at, at + word.length) }), text.slice(at + word.length)];
}

// --- the reasons ---

const saying = one => !one.says ? [] : [make("p", { className: "because" }, t("says"),
  make("q", { textContent: one.says, lang: tongue(one.says) }))]; // what in it is nearest to the words

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
  if (rest > MOST_UNTOLD) return [sentence]; // a bar of what is not named would say nothing
  const bar = make("div", { className: "shares", role: "img",
                            ariaLabel: shares.map(([name, share]) => `${name} ${percent(share)}`).join(", ") });
  for (const [name, share, place] of shares) {
    const part = make("i", { className: `c${place}`, title: `${name} ${percent(share)}` });
    part.style.flexGrow = share;
    bar.append(part);
  }
  return [sentence, bar];
}
