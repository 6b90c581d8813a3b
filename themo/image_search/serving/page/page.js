"use strict";
// The page of `themo search --serve`: it searches as one types, shows similar pictures, and opens a picture in full.
//
// The address's fragment keeps the search, so that a reload and the browser's Back work:
//   #text=perro   matches of a text      #like=12   pictures like number 12      (none)   pictures of the folder
(() => {
  const TYPING_PAUSE = 130; // milliseconds without a key before a search
  const TINY = 512; // pixels: a picture below is enlarged to that size
  const {best, most} = document.documentElement.dataset;
  const at = id => document.getElementById(id);
  const [box, list, viewer] = [at("text"), at("matches"), at("viewer")];

  let shown = {text: "", like: null}; // the search whose matches the page shows or awaits
  let typed = ""; // the last text, to return to from similar pictures
  let running = null; // AbortController of the search under way
  let pause = 0; // timer of the typing pause
  let open = null; // item of the picture in the viewer
  let choosesFirst = false; // whether the next matches take the focus

  // --- the search, and the address

  function fromFragment() {
    const parts = new URLSearchParams(location.hash.slice(1));
    return parts.has("like") ? {text: "", like: Number(parts.get("like"))} : {text: parts.get("text") ?? "", like: null};
  }

  function toFragment({text, like}) {
    if (like !== null) return `#like=${like}`;
    return text.trim() ? `#${new URLSearchParams({text})}` : "#";
  }

  // Shows a text or similar pictures. A text that changes letter by letter is one entry of the history.
  function show(wanted, {enter = true} = {}) {
    clearTimeout(pause);
    if (enter && toFragment(wanted) !== toFragment(shown)) {
      const isTyping = shown.like === null && wanted.like === null;
      history[isTyping ? "replaceState" : "pushState"](null, "", toFragment(wanted));
    }
    shown = wanted;
    if (wanted.like === null) typed = wanted.text;
    if (box.value !== wanted.text) box.value = wanted.text;
    search(Number(best));
  }

  // --- searching

  function addressOf({text, like}, n) {
    if (like !== null) return `similar/${like}?n=${n}`;
    return text.trim() ? `search?${new URLSearchParams({text, n})}` : `sample?n=${n}`;
  }

  // Ends the search before: its answer never replaces a newer one's.
  async function search(n) {
    running?.abort();
    const mine = running = new AbortController();
    list.classList.add("waiting");
    try {
      const answer = await fetch(addressOf(shown, n), {signal: mine.signal, cache: "no-store"});
      if (answer.ok) render(await answer.json(), n);
      else if (answer.status === 403) say("Esta dirección ya no vale: abre la que imprime el programa.", true);
      else say(`El programa responde: ${(await answer.text()).trim()}`, true);
    } catch (error) {
      if (mine.signal.aborted) return;
      say("El programa no responde. ¿Sigue en marcha?", true);
      console.info(error);
    }
    list.classList.remove("waiting");
  }

  function say(text, isWrong = false) {
    at("status").textContent = text;
    at("status").classList.toggle("wrong", isWrong);
  }

  // --- the matches

  function render({matches, cut, name, nothing_like_that: isNothing}, n) {
    const focused = choosesFirst ? 0 : places().indexOf(document.activeElement);
    choosesFirst = false;
    const before = [...list.children];
    list.replaceChildren(...matches.map((match, place) => isSame(before[place], match) ? before[place] : card(match, place)));
    for (const item of before) if (!item.isConnected) item.querySelector("img").removeAttribute("src"); // ends its loading
    if (focused >= 0) choose(Math.min(focused, matches.length - 1));
    if (viewer.open) keepViewer();
    at("more").hidden = matches.length < n || n >= Number(most);
    at("like").hidden = shown.like === null;
    if (shown.like !== null) {
      Object.assign(at("like-image"), {hidden: false, src: `thumbnails/${shown.like}`});
      at("like-name").textContent = name;
    }
    const subject = shown.like === null ? shown.text.trim() : `Parecidas a ${name}`;
    document.title = subject ? `${subject} – Themo` : "Themo";
    const found = isNothing ? "Nada parecido; lo más cercano:" : counted(matches.length);
    if (subject) say(cut ? `Solo se leen los primeros ${cut} tokens del texto. ${found}` : found, isNothing);
    else say("Algunas imágenes de la carpeta. Escribe para buscar.");
  }

  function counted(n) {
    return n === 1 ? "La mejor" : n === 0 ? "Nada parecido" : `Las ${n} mejores`;
  }

  // Counts further files in a line, which names them on hover.
  function countFiles(line, files, one, many) {
    if (!files.length) return;
    line.textContent = `y ${files.length} ${files.length === 1 ? one : many}`;
    line.title = files.join(" · ");
  }

  function decimal(score) {
    return score.toLocaleString("es", {minimumFractionDigits: 3, maximumFractionDigits: 3}).replace("-", "−");
  }

  function isSame(item, match) {
    return JSON.stringify(item?.match) === JSON.stringify(match);
  }

  function card(match, place) {
    const item = at("match").content.firstElementChild.cloneNode(true);
    const part = name => item.querySelector(name);
    Object.assign(item, {match});
    Object.assign(part("a"), {href: `pictures/${match.number}`, tabIndex: place === 0 ? 0 : -1});
    part("img").alt = part(".name").textContent = match.name;
    part("img").addEventListener("error", () => item.classList.add("gone"));
    part("img").src = `thumbnails/${match.number}`;
    if (match.score === undefined) return item; // of a sample
    part(".rank").textContent = place + 1;
    part(".score").textContent = decimal(match.score);
    countFiles(part(".copies"), match.copies, "copia", "copias");
    countFiles(part(".duplicates"), match.duplicates, "casi igual", "casi iguales");
    item.classList.toggle("unlikely", match.unlikely);
    if (match.unlikely) item.title = `poco probable: ${decimal(match.chance)}`;
    return item;
  }

  const places = () => [...list.querySelectorAll(".picture")];

  // One picture is in the order of the Tab key; arrows move to the others.
  function choose(place) {
    const all = places();
    if (!all[place]) return;
    for (const each of all) each.tabIndex = -1;
    all[place].tabIndex = 0;
    all[place].focus();
    all[place].closest("figure").scrollIntoView({block: "nearest"});
  }

  function columns() {
    const tops = [...list.children].map(item => item.offsetTop);
    return tops.filter(top => top === tops[0]).length;
  }

  function showSimilar({match}) {
    choosesFirst = true;
    viewer.close();
    scrollTo(0, 0);
    show({text: "", like: match.number});
  }

  function toText() {
    show({text: typed, like: null});
    box.focus();
  }

  // --- a picture in full

  function view(place) {
    const item = list.children[place];
    if (!item) return;
    open = item;
    const {match} = item;
    const image = at("viewer-image");
    const whole = `pictures/${match.number}`;
    const isOpen = () => viewer.open && open === item;
    const showGone = isGone => { [image.hidden, at("viewer-gone").hidden] = [isGone, !isGone]; };
    showGone(item.classList.contains("gone"));
    Object.assign(image, {src: `thumbnails/${match.number}`, alt: match.name, className: "copy"}); // until it is loaded
    const loading = new Image();
    loading.onload = () => {
      const isTiny = Math.max(loading.naturalWidth, loading.naturalHeight) < TINY;
      if (isOpen()) Object.assign(image, {src: whole, className: isTiny ? "tiny" : ""});
    };
    loading.onerror = () => {
      item.classList.add("gone");
      if (isOpen()) showGone(true);
    };
    loading.src = whole;
    at("viewer-name").textContent = match.name;
    at("viewer-score").textContent = match.score === undefined ? "" : decimal(match.score);
    at("viewer-file").href = whole;
    showSteps(place);
    if (!viewer.open) viewer.showModal();
  }

  function showSteps(place) {
    at("viewer-before").disabled = place === 0;
    at("viewer-after").disabled = place === list.children.length - 1;
  }

  // Place of the picture in the viewer among the matches, which may have changed meanwhile; -1: it is no match.
  const placeOfOpen = () => [...list.children].findIndex(item => item.match.number === open?.match.number);

  // The viewer stays at its picture when the matches change, and closes if they no longer have it.
  function keepViewer() {
    const place = placeOfOpen();
    if (place < 0) viewer.close();
    else if (list.children[place] === open) showSteps(place);
    else view(place);
  }

  // --- keys

  const STEPS = {ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: columns};

  function onKeyInMatches(event, place) {
    if (event.key.toLowerCase() === "m") return showSimilar(list.children[place]);
    if (event.key === "Escape") return shown.like === null ? box.focus() : toText();
    if (event.key === "Home") return choose(0);
    if (event.key === "End") return choose(list.children.length - 1);
    const step = STEPS[event.key]?.();
    if (step === undefined) return undefined;
    event.preventDefault();
    const next = place + step;
    if (next < 0 && event.key === "ArrowUp") return box.focus();
    return choose(Math.max(0, Math.min(next, list.children.length - 1)));
  }

  function onKeyInText(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      choose(0);
    } else if (event.key === "Escape" && shown.like !== null && !box.value) {
      toText();
    }
  }

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (viewer.open) {
      if (event.key === "ArrowLeft") view(placeOfOpen() - 1);
      else if (event.key === "ArrowRight") view(placeOfOpen() + 1);
      else if (event.key.toLowerCase() === "m") showSimilar(open);
      return;
    }
    if (event.target === box) return onKeyInText(event);
    if (event.key === "/") {
      event.preventDefault();
      box.focus();
      box.select();
      return;
    }
    const place = places().indexOf(event.target);
    if (place >= 0) onKeyInMatches(event, place);
    else if (event.key === "Escape" && shown.like !== null) toText();
    else if (event.key === "ArrowDown") choose(0);
  });

  // --- the pointer and the box

  box.addEventListener("input", event => {
    clearTimeout(pause);
    if (!event.isComposing) pause = setTimeout(() => show({text: box.value, like: null}), TYPING_PAUSE);
  });
  box.addEventListener("compositionend", () => show({text: box.value, like: null}));
  at("form").addEventListener("submit", event => {
    event.preventDefault();
    show({text: box.value, like: null});
  });
  list.addEventListener("click", event => {
    const place = [...list.children].indexOf(event.target.closest("li"));
    if (place < 0) return;
    if (event.target.closest(".similar")) return showSimilar(list.children[place]);
    if (event.target.closest(".picture") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      view(place);
    }
  });
  at("more").addEventListener("click", () => search(Math.min(2 * list.children.length, Number(most))));
  at("like-end").addEventListener("click", toText);
  at("viewer-before").addEventListener("click", () => view(placeOfOpen() - 1));
  at("viewer-after").addEventListener("click", () => view(placeOfOpen() + 1));
  at("viewer-similar").addEventListener("click", () => showSimilar(open));
  at("viewer-end").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => choose(Math.max(0, placeOfOpen())));
  at("like-image").addEventListener("error", event => { event.target.hidden = true; });
  addEventListener("popstate", () => show(fromFragment(), {enter: false}));

  show(fromFragment(), {enter: false});
})();
