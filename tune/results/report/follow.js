"use strict";
// Follows a running search: asks the server of the page whether the record has changed, and takes the new
// content. The reader's scale, ranges, order of the table, focus and place on the page stay.
(() => {
  const SECONDS = 2, PATIENCE_SECONDS = 20;
  const state = () => document.getElementById("live");  // its data-version: of the content shown

  async function ask(address) {
    const answer = await fetch(address, {cache: "no-store", signal: AbortSignal.timeout(1000 * PATIENCE_SECONDS)});
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    return answer;
  }

  function say(news) {
    state().classList.toggle("over", news.activity !== "running" && news.activity !== "starting");
    state().classList.remove("lost");
    state().textContent = news.line;
  }

  // A selector of the element with the focus, which finds its successor in the new content.
  function focused() {
    const node = document.activeElement ?? document.body, heading = node.closest("th");
    if (heading) return `table.trials th:nth-child(${heading.cellIndex + 1}) button`;
    for (const name of ["data-axis", "href", "id", "value", "aria-label"]) {
      if (node.hasAttribute(name)) return `[${name}="${CSS.escape(node.getAttribute(name))}"]`;
    }
    return node.localName;
  }

  function replace(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const places = [...document.querySelectorAll(".scroll")].map(box => [box.scrollLeft, box.scrollTop]);
    const at = [scrollX, scrollY], successor = focused();
    document.title = page.title;
    for (const part of ["main", "#figures", "#data", ".bar", "footer"]) {
      document.querySelector(part).replaceWith(document.adoptNode(page.querySelector(part)));
    }
    document.dispatchEvent(new CustomEvent("content"));
    document.querySelectorAll(".scroll").forEach((box, i) => { if (places[i]) box.scrollTo(...places[i]); });
    document.querySelector(successor)?.focus({preventScroll: true});
    scrollTo(...at);
  }

  async function look() {
    try {
      const news = await (await ask("state")).json();
      if (news.version !== state().dataset.version) replace(await (await ask("part")).text());
      say(news);
    } catch (error) {
      state().classList.add("lost");
      state().textContent = "The server of this page does not answer; the page shows the last known state.";
    }
    setTimeout(look, 1000 * SECONDS);
  }

  document.addEventListener("DOMContentLoaded", look);
})();
