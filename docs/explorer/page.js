// The page: a form of answers on the one side, and on the other what they make. The address has the choice.
"use strict";

const CONTEXT = 3; // lines around a difference
const STATUS = { A: "added", M: "changed", D: "removed" };

// Make an element. Attributes that are functions are listeners; those that are false or undefined are left out.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat());
  return made;
}

class Explorer {
  constructor(root, variants) {
    Object.assign(this, { root, variants, opened: new Set(), only: false });
    this.original = variants.files(variants.defaults);
    this.build();
    window.addEventListener("hashchange", () => this.read());
    this.read();
  }

  // The address

  read() {
    const given = new URLSearchParams(location.hash.slice(1));
    const asked = { ...this.variants.defaults };
    this.variants.prompts.forEach(({ name }, i) => {
      if (this.variants.answers[i].includes(given.get(name))) asked[name] = given.get(name);
    });
    this.path = given.get("file") ?? "README.md";
    this.changes = given.get("view") === "changes";
    this.choose(this.variants.better(asked), this.variants.reasons(asked));
  }

  write() {
    const given = this.variants.changed(this.choice);
    if (this.path !== "README.md") given.push(["file", this.path]);
    if (this.changes) given.push(["view", "changes"]);
    const address = new URLSearchParams(given).toString().replaceAll("%2F", "/");
    history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
  }

  // The form, once

  build() {
    this.fields = this.variants.prompts.map((prompt) => this.field(prompt));
    this.reset = element(
      "button",
      { type: "button", class: "x-button", click: () => this.choose(this.variants.defaults) },
      "Reset",
    );
    this.notice = element("div", { role: "alert" });
    this.command = element("code", { class: "x-command" });
    this.copied = element("button", { type: "button", class: "x-button x-strong", click: () => this.copy() }, "Copy");
    this.counts = element("p", { role: "status", class: "x-counts" });
    const filter = {
      type: "checkbox",
      change: (event) => {
        this.only = event.target.checked;
        this.showTree();
      },
    };
    this.filter = element("input", filter);
    this.tree = element("div", { class: "x-tree", role: "group", "aria-label": "Files of the project" });
    this.viewer = element("div", { class: "x-viewer" });
    this.survives = element("div");
    this.packages = element("div", { class: "x-packages" });
    const refused = this.variants.refused.map(({ answers, reason }) => [
      Object.entries(answers).map((answer, i) => [i ? " with " : "", element("code", {}, answer.join("="))]),
      [`${reason}.`],
    ]);
    this.root.replaceChildren(
      element(
        "form",
        { class: "x-choices", "aria-label": "Answers", submit: (event) => event.preventDefault() },
        element("div", { class: "x-bar" }, element("h2", {}, "Answers"), this.reset),
        this.fields.map(({ set }) => set),
      ),
      element(
        "div",
        { class: "x-result" },
        this.notice,
        section(
          "Command",
          element("div", { class: "x-terminal" }, this.command, this.copied),
          element(
            "p",
            { class: "x-note" },
            element("code", {}, "TEMPLATE"),
            " is the path of the template's repository, or ",
            element("code", {}, "git+"),
            " and its URL. Without ",
            element("code", {}, "--no-input"),
            " it asks for the other answers.",
          ),
        ),
        section(
          "Files",
          element(
            "div",
            { class: "x-bar" },
            this.counts,
            element("label", { class: "x-check" }, this.filter, "Only what differs from the default"),
          ),
          element("div", { class: "x-files" }, this.tree, this.viewer),
        ),
        section("What survives what", this.survives),
        section("Dependencies", this.packages),
        section("Refused combinations", cells(["answers", "why"], refused)),
      ),
    );
  }

  field({ name, label, answers }) {
    const inputs = Object.keys(answers).map((answer) =>
      element("input", {
        type: "radio",
        name,
        value: answer,
        change: () => this.choose({ ...this.choice, [name]: answer }),
      }),
    );
    const hint = element("p", { class: "x-hint" });
    const refused = element("div", { class: "x-refused", id: `refused-${name}` });
    const set = element(
      "fieldset",
      { "aria-describedby": refused.id },
      element("legend", {}, element("code", {}, name), " ", element("span", {}, label)),
      element(
        "div",
        { class: "x-answers" },
        inputs.map((input) => element("label", {}, input, element("span", {}, input.value))),
      ),
      hint,
      refused,
    );
    return { name, answers, inputs, hint, refused, set };
  }

  // What a choice changes

  choose(choice, reasons = []) {
    this.choice = choice;
    this.files = this.variants.files(choice);
    this.statuses = new Map();
    for (const path of [...new Set([...this.files.keys(), ...this.original.keys()])].sort()) {
      const [now, then] = [this.files.get(path), this.original.get(path)];
      this.statuses.set(path, then === undefined ? "A" : now === undefined ? "D" : now === then ? "" : "M");
    }
    if (!this.statuses.has(this.path)) this.path = "README.md";
    this.showNotice(reasons);
    this.showFields();
    this.command.textContent = this.variants.command(choice);
    this.copied.textContent = "Copy";
    const count = (status) => [...this.statuses.values()].filter((other) => other === status).length;
    const changed = Object.keys(STATUS)
      .filter(count)
      .map((status) => `${count(status)} ${STATUS[status]}`);
    this.counts.textContent = `${this.files.size} files: ${changed.join(", ") || "those of the default"}`;
    this.showSurvival();
    this.showPackages();
    this.open(this.path, this.changes);
  }

  showNotice(reasons) {
    const list = element(
      "ul",
      {},
      reasons.map((reason) => element("li", {}, `${reason}.`)),
    );
    const texts = [
      element("p", {}, "The template refuses the answers of this address. You see those that it proposes instead."),
      list,
    ];
    this.notice.replaceChildren(...(reasons.length ? [element("div", { class: "x-notice" }, texts)] : []));
  }

  showFields() {
    for (const { name, answers, inputs, hint, refused, set } of this.fields) {
      const chosen = this.choice[name];
      set.classList.toggle("x-changed", chosen !== this.variants.defaults[name]);
      hint.textContent = answers[chosen] === chosen ? "" : answers[chosen];
      refused.replaceChildren();
      for (const input of inputs) {
        const asked = { ...this.choice, [name]: input.value };
        const reasons = this.variants.reasons(asked);
        input.checked = input.value === chosen;
        input.disabled = reasons.length > 0;
        if (reasons.length) refused.append(this.refusal(name, asked, reasons));
      }
    }
    this.reset.disabled = !this.variants.changed(this.choice).length;
  }

  refusal(name, asked, reasons) {
    const better = this.variants.better(asked);
    const others = Object.keys(asked).filter((prompt) => better[prompt] !== asked[prompt]);
    const text = reasons.map((reason) =>
      element("p", {}, element("code", {}, asked[name]), " is refused: ", reason, "."),
    );
    if (others.includes(name)) return element("div", {}, text);
    const take = () => {
      this.choose(better);
      this.fields
        .find((field) => field.name === name)
        .inputs.find((input) => input.checked)
        .focus();
    };
    const label = `Choose ${asked[name]}, with ${others.map((prompt) => `${prompt}=${better[prompt]}`).join(" and ")}`;
    return element("div", {}, text, element("button", { type: "button", class: "x-link", click: take }, label));
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.command.textContent);
      this.copied.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(this.command);
      this.copied.textContent = "Selected";
    }
  }

  // The files

  open(path, changes = false, words) {
    this.path = path;
    const status = this.statuses.get(path);
    // A removed file has changes only.
    this.changes = status === "D" || (changes && status !== "");
    this.showTree();
    this.showFile(words);
    this.write();
  }

  showTree() {
    const focused = document.activeElement?.dataset?.path;
    const folders = { inner: new Map(), files: [] };
    for (const [path, status] of this.statuses) {
      if (this.only && !status && path !== this.path) continue;
      const names = path.split("/");
      let folder = folders;
      for (const name of names.slice(0, -1)) {
        if (!folder.inner.has(name)) folder.inner.set(name, { inner: new Map(), files: [] });
        folder = folder.inner.get(name);
      }
      folder.files.push([names.at(-1), path, status]);
    }
    this.tree.replaceChildren(this.branch(folders, ""));
    if (focused) this.tree.querySelector(`[data-path="${CSS.escape(focused)}"]`)?.focus();
    const current = this.tree.querySelector("[aria-current]");
    if (current) {
      const above = current.offsetTop - this.tree.scrollTop;
      if (above < 0 || above > this.tree.clientHeight - current.offsetHeight)
        this.tree.scrollTop += above - this.tree.clientHeight / 3;
    }
  }

  branch({ inner, files }, above) {
    const folders = [...inner].map(([name, folder]) => {
      // A folder that holds one folder alone is shown with it.
      while (!folder.files.length && folder.inner.size === 1) {
        const [[only, next]] = folder.inner;
        [name, folder] = [`${name}/${only}`, next];
      }
      const path = `${above}${name}/`;
      const differing = [...this.statuses].filter(([inside, status]) => status && inside.startsWith(path)).length;
      const shown = this.only || this.opened.has(path) || this.path.startsWith(path);
      const toggle = () => {
        const open = button.getAttribute("aria-expanded") !== "true";
        this.opened[open ? "add" : "delete"](path);
        button.setAttribute("aria-expanded", String(open));
        list.hidden = !open;
      };
      const button = element(
        "button",
        { type: "button", class: "x-folder", "aria-expanded": String(shown), "data-path": path, click: toggle },
        element("span", {}, name),
        differing ? element("span", { class: "x-badge x-M" }, `${differing} differ`) : [],
      );
      const list = this.branch(folder, path);
      list.hidden = !shown;
      return element("li", {}, button, list);
    });
    const leaves = files.map(([name, path, status]) =>
      element(
        "li",
        {},
        element(
          "button",
          {
            type: "button",
            class: `x-file x-${status}`,
            "data-path": path,
            "aria-current": path === this.path && "true",
            click: () => this.open(path, this.changes || status === "D"),
          },
          element("span", {}, name),
          status ? badge(status) : [],
        ),
      ),
    );
    return element("ul", {}, folders, leaves);
  }

  showFile(words) {
    const status = this.statuses.get(this.path);
    const view = (label, changes, disabled) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.changes === changes),
          disabled,
          click: () => {
            this.open(this.path, changes);
            this.viewer.querySelector("[aria-pressed=true]").focus();
          },
        },
        label,
      );
    const lines = this.changes
      ? this.difference()
      : highlighted(this.files.get(this.path), this.path).map((line) => row("x-line", line));
    const code = element(
      "pre",
      { class: this.changes ? "x-code x-diff" : "x-code", tabindex: "0", role: "region", "aria-label": this.path },
      lines,
    );
    this.viewer.replaceChildren(
      element(
        "div",
        { class: "x-bar" },
        element("h3", {}, this.path),
        status ? badge(status) : [],
        element(
          "div",
          { class: "x-views", role: "group", "aria-label": "View" },
          view("File", false, status === "D"),
          view("Changes", true, status === ""),
        ),
      ),
      lines.length ? code : element("p", { class: "x-note" }, "This file is empty."),
    );
    if (words === undefined) return;
    const target = lines.find((line) => words && line.textContent.includes(words));
    target?.classList.add("x-target");
    code.scrollTop = target ? target.offsetTop - code.clientHeight / 3 : 0;
    code.focus({ preventScroll: true });
    this.viewer.scrollIntoView({ block: "center" });
  }

  // Return the lines that differ from the default, with some around them.
  difference() {
    const texts = [this.original.get(this.path) ?? "", this.files.get(this.path) ?? ""];
    const [before, after] = texts.map((text) => highlighted(text, this.path));
    const edit = difference(
      ...[before, after].map((lines) => lines.map((line) => line.map(([, text]) => text).join(""))),
    );
    const near = edit.map((_, i) => edit.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some(([sign]) => sign));
    const rows = [];
    edit.forEach(([sign, x, y], i) => {
      if (near[i]) {
        const line = element({ "+": "ins", "-": "del" }[sign] ?? "span", { class: "x-line" });
        const number = (shown, n) =>
          element("span", { class: "x-number", "aria-hidden": "true" }, shown ? String(n + 1) : "");
        line.append(
          number(sign !== "+", x),
          number(sign !== "-", y),
          element("span", { class: "x-sign" }, sign || " "),
          ...spans(sign === "-" ? before[x] : after[y]),
          "\n",
        );
        rows.push(line);
      } else if (!i || near[i - 1]) {
        const next = near.indexOf(true, i);
        const equal = (next < 0 ? near.length : next) - i;
        rows.push(element("span", { class: "x-gap" }, `${equal} equal line${equal > 1 ? "s" : ""}\n`));
      }
    });
    return rows;
  }

  // Guarantees and dependencies

  showSurvival() {
    const promises = "docs/promises.md";
    const rows = (files) => table(files.get(promises), "# What survives what\n");
    const known = new Set(rows(this.original).map((cells) => cells.join()));
    const found = rows(this.files).map((cells) => [
      ...cells.map((cell) => this.inline(cell)),
      !known.has(cells.join()),
    ]);
    const heads = ["what happens", "then", "tried by"];
    this.survives.replaceChildren(
      cells(
        heads,
        found.map(([what, then, test, differs]) => [
          differs ? [what, " ", element("span", { class: "x-badge x-M" }, "differs")] : what,
          then,
          test,
        ]),
      ),
    );
  }

  // Return nodes for code and links of Markdown. A test, or a link to another page of the project, opens its file.
  inline(markdown) {
    return markdown.split(/(`[^`]+`|\[[^\]]+\]\([^)]+\))/).map((piece) => {
      const [, label, link] = piece.match(/^\[(.+)\]\((.+)\)$/) ?? [];
      const [, name] = label?.match(/^`(test_\w+)`$/) ?? [];
      const path = link?.startsWith("../") ? link.slice(3) : `docs/${link}`;
      if (link && this.files.has(path))
        return element(
          "button",
          { type: "button", class: "x-link", click: () => this.open(path, false, name ? `def ${name}(` : "") },
          name ? breakable(name) : label,
        );
      return piece.startsWith("`") ? element("code", {}, piece.slice(1, -1)) : (label ?? piece);
    });
  }

  showPackages() {
    const [now, then] = [this.files, this.original].map((files) => dependencies(files.get("pyproject.toml")));
    this.packages.replaceChildren(
      ...Object.keys(now).map((group) => {
        const all = [...new Set([...now[group], ...then[group]])].sort();
        return element(
          "div",
          {},
          element("h3", {}, `${group[0].toUpperCase()}${group.slice(1)}`),
          element(
            "ul",
            {},
            all.map((dependency) => {
              const status = !then[group].includes(dependency) ? "A" : !now[group].includes(dependency) ? "D" : "";
              const [name] = dependency.match(/^[\w.-]+(?:\[[^\]]*\])?/);
              return element(
                "li",
                { class: `x-${status}` },
                element("strong", {}, name),
                ` ${dependency.slice(name.length)}`,
                status ? badge(status) : [],
              );
            }),
          ),
        );
      }),
    );
  }
}

function section(title, ...children) {
  const id = `x-${title.toLowerCase().replaceAll(" ", "-")}`;
  return element("section", { "aria-labelledby": id }, element("h2", { id }, title), children);
}

function badge(status) {
  return element("span", { class: `x-badge x-${status}` }, STATUS[status]);
}

function cells(heads, rows) {
  return element(
    "table",
    { class: "x-table" },
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        heads.map((head) => element("th", { scope: "col" }, head)),
      ),
    ),
    element(
      "tbody",
      {},
      rows.map((row) =>
        element(
          "tr",
          {},
          row.map((cell, i) => element("td", { "data-head": heads[i] }, cell.flat())),
        ),
      ),
    ),
  );
}

// Return a name that may go on in a new line after each underscore.
function breakable(name) {
  return name.split("_").flatMap((word, i) => (i ? ["_", element("wbr"), word] : word));
}

function row(kind, line) {
  return element("span", { class: kind }, spans(line), "\n");
}

function spans(line) {
  return line.map(([kind, text]) => (kind ? element("span", { class: `x-${kind}` }, text) : text));
}

{
  const root = document.querySelector("div.explorer");
  // Material's dialog has no name for screen readers.
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  window.explorer = Variants.load(EXPLORER_DATA).then((variants) => new Explorer(root, variants));
  window.explorer.catch((error) => {
    root.textContent = `This browser cannot show the explorer: ${error.message}`;
  });
}
