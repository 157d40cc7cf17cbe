// What a person can do with a picture: buttons, keys, in whose name, and how far it is. A read-only page has none of it.
"use strict";
(() => {
  const G = window.Gallery;
  const MOST_MIB = 64;
  const KEPT_NAME = "gallery-who";
  const token = document.querySelector('meta[name="gallery-token"]')?.content || "";
  const isKept = (details) => details.choices.some((choice) => choice.act !== "pick");
  const lockWord = (details) => (isKept(details) ? "Unlock" : details.choices.length ? "Let go of the pick" : "Lock");
  const isUnderWay = (job) => job.state === "waiting" || job.state === "working";
  const mine = new Set(); // jobs that were under way while this page was open
  let details = null; // of the picture whose panel is open
  let jobs = [];
  let said = null; // {picture, after, lines, faults}: what the page itself has to say
  let isAsking = false;
  let later = null;
  let pending = null; // what waits for a name

  const remembered = (() => { try { return localStorage.getItem(KEPT_NAME) || ""; } catch { return ""; } })();
  const who = G.make("input", { type: "text", value: remembered, maxLength: 100, autocomplete: "name", spellcheck: false,
    onkeydown: (event) => { if (event.key === "Enter" && pending) { event.preventDefault(); pending(); } } });
  const why = G.make("input", { type: "text", maxLength: 500, autocomplete: "off" });
  const anySize = G.make("input", { type: "checkbox" });
  const file = G.make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "A file of yours", onchange: adoptChosen });
  const status = G.make("div", { className: "said", role: "status", "aria-live": "polite" });

  // `isFor`: whether it is offered for a picture. A key of `keys.js` does the same as the button.
  const table = [
    { key: "r", name: () => "Reroll", title: "render 4 more takes", isFor: () => true, run: () => ask("reroll") },
    { key: "p", name: () => "Pick", title: "let the take on the right be the picture", isFor: (one) => one.takes.length > 0, run: pickShown },
    { key: "l", name: lockWord, title: "keep this picture whatever changes, or let go of it", isFor: (one) => Boolean(one.picture || one.choices.length), needsRest: true, run: lockOrNot },
    { key: "", name: () => "Adopt a file …", title: "let a file of yours be the picture", isFor: () => true, run: () => named(() => file.click()) },
  ].map((action) => ({ ...action, button: G.make("button", { type: "button", title: action.title + (action.key ? ` ( ${action.key} )` : ""),
    "aria-keyshortcuts": action.key || null, onclick: action.run }) }));
  const box = G.make("div", { className: "actions", role: "group", "aria-label": "Actions" },
    G.make("div", { className: "buttons" }, ...table.map((action) => action.button)),
    G.make("div", { className: "fields" }, G.make("label", {}, "Who decides ", who), G.make("label", {}, "Why (optional) ", why),
      G.make("label", {}, anySize, " a file of any size")), file, status);

  // The part of the panel that acts; the same elements each time, so that what is typed stays.
  function partFor(given) {
    if (details?.id !== given.id) pending = later = null;
    details = given;
    if (G.isReadOnly) return [];
    for (const action of table) {
      action.button.hidden = !action.isFor(details);
      action.button.textContent = action.name(details);
    }
    showSaid();
    return [box];
  }

  function run(key) {
    if (details) table.find((action) => action.key === key && action.isFor(details))?.run();
  }

  // Goes on when there is a name; it is asked for once.
  function named(act) {
    if (who.value.trim()) {
      pending = null;
      try { localStorage.setItem(KEPT_NAME, who.value.trim()); } catch { /* asked again next time */ }
      act();
    } else {
      pending = () => { G.find("panel-name")?.focus(); named(act); }; // keys are keys again
      tell(["Say who decides it, and press Enter; you are asked once."]);
      who.focus();
    }
  }

  // What changed since a take was rendered; the server refuses such a one, too.
  const changesSince = (number) => details.takes.find((take) => take.number === number)?.before || [];
  const isOfBefore = (number) => changesSince(number).length > 0;
  const tellOfBefore = (number) => tell([], [{ problem: `take ${number} cannot be picked, it is of before: ${changesSince(number).join("; ")}`,
    hint: "Reroll renders those of before anew" }]);
  const tellTake = (number) => (isOfBefore(number) ? tellOfBefore(number) : tell([`Take ${number} is on the right; p picks it.`]));

  const pick = (number) => (isOfBefore(number) ? tellOfBefore(number) : named(() => ask("pick", { take: number })));
  const restore = (version) => named(() => ask("restore", { version }));

  // Whether what is shown of the picture may be out of date: something was just decided of it.
  const isBusy = () => isAsking || jobs.some((job) => job.picture === details.id && job.action !== "reroll" && isUnderWay(job));

  function lockOrNot() {
    if (isBusy()) { later = lockOrNot; return; } // when what came of that is known
    details.choices.length ? ask("unlock") : named(() => ask("lock"));
  }

  function pickShown() {
    const number = G.panel.takeShown();
    number === null ? tell(["Press 1 to 9 first, to see a take."]) : pick(number);
  }

  function adoptChosen() {
    const [chosen] = file.files;
    if (!chosen) return;
    file.value = "";
    if (chosen.size > MOST_MIB << 20) tell([], [{ problem: `${chosen.name} is larger than ${MOST_MIB} MiB`, hint: "choose a smaller one" }]);
    else ask("adopt", { name: chosen.name, ...(anySize.checked ? { any_size: "yes" } : {}) }, chosen);
  }

  async function ask(action, values = {}, body = "") {
    const { id } = details;
    const query = new URLSearchParams({ by: who.value.trim(), why: why.value.trim(), ...values });
    isAsking = true;
    tell(["asked …"]);
    try {
      const answer = await fetch(`api/pictures/${id}/${action}?${query}`, { method: "POST", body,
        headers: { "X-Gallery-Token": token, "Content-Type": "application/octet-stream" } });
      const isJson = answer.headers.get("content-type")?.includes("json");
      const told = isJson ? await answer.json() : { faults: [{ problem: (await answer.text()).trim() || `the gallery answered ${answer.status}`, hint: "" }] };
      if (told.faults) return tell([], told.faults, id);
      why.value = "";
      said = null;
      if (!jobs.some((job) => job.number === told.job.number)) update([...jobs, told.job]);
    } catch {
      tell([], [{ problem: "nothing was done: the gallery cannot be reached", hint: "start it again, and load this page anew" }], id);
    } finally {
      isAsking = false;
      showSaid();
    }
    return undefined;
  }

  function tell(lines, faults = [], picture = details.id) {
    said = { picture, after: Math.max(0, ...jobs.map((job) => job.number)), lines, faults };
    showSaid();
  }

  function update(all) {
    jobs = all;
    for (const job of jobs) if (isUnderWay(job)) mine.add(job.number);
    if (!details || G.isReadOnly) return;
    showSaid();
    if (later && !isBusy()) {
      const act = later;
      later = null;
      act();
    }
  }

  function linesOf(job) {
    const decided = job.decided ? [`${job.decided}.`] : [];
    const rendered = job.total ? `rendering takes: ${job.done} of ${job.total}` : "";
    const far = { waiting: "waits for what is under way", working: job.told || rendered || "under way …", done: job.told, failed: job.told };
    return [...decided, far[job.state]].filter(Boolean);
  }

  function showSaid() {
    const last = jobs.filter((job) => job.picture === details.id && mine.has(job.number)).at(-1);
    const isOwn = said && said.picture === details.id && !(last && last.number > said.after);
    const lines = isOwn ? said.lines : last ? linesOf(last) : [];
    const faults = isOwn ? said.faults : last?.faults || [];
    for (const action of table) action.button.disabled = Boolean(action.needsRest) && isBusy();
    const key = JSON.stringify([lines, faults]);
    if (status.dataset.said === key) return;
    status.dataset.said = key;
    status.replaceChildren(...lines.map((line) => G.make("p", {}, line)),
      ...faults.map((fault) => G.make("p", { className: "fault" }, fault.problem, fault.hint ? G.make("span", { className: "hint" }, fault.hint) : null)));
  }

  G.actions = { partFor, run, pick, restore, tellTake, update, keys: G.isReadOnly ? [] : table.map((action) => action.key).filter(Boolean) };
})();
