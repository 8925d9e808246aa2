// Texts: highlighting, lines that differ, tables of Markdown, and dependencies.
"use strict";

const STRING = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/;
const HASH = /(?<!\S)#.*/;
const PYTHON_WORDS =
  "and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|" +
  "lambda|match|case|None|nonlocal|not|or|pass|raise|return|True|False|try|type|while|with|yield";

// What each language has, tried in this order: the class of a token, and its pattern.
const LANGUAGES = {
  python: {
    comment: /#.*/,
    string: /(?<!\w)[bfru]{0,2}(?:"""[^]*?"""|'''[^]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')/,
    name: /(?<=\b(?:def|class) )\w+|^\s*@[\w.]+/,
    keyword: new RegExp(`\\b(?:${PYTHON_WORDS})\\b`),
    figure: /\b\d[\d_.]*\b/,
  },
  config: {
    comment: HASH,
    string: STRING,
    keyword: /^\s*\[[^\n]*\]$/,
    name: /^[ \t]*(?:- )?[\w.-]+(?=\s*[=:](?:\s|$))/,
    figure: /\b\d[\d_.]*\b/,
  },
  make: {
    comment: HASH,
    name: /^[\w./%-]+(?=[^\n=]*:)|^[\w.]+(?=\s*[:?]?=)/,
    keyword: /\$[({][^)}]*[)}]|\$[@<^*]/,
    string: STRING,
  },
  docker: { comment: /^#.*/, keyword: /^[A-Z]+\b/, string: STRING, name: /\$\w+|\$\{[^}]*\}/ },
  json: { name: /"[^"\n]*"(?=\s*:)/, string: STRING, figure: /-?\b\d[\d.]*\b/, keyword: /\b(?:true|false|null)\b/ },
  markdown: { keyword: /^#{1,6} .*/, string: /^```[^]*?^```|`[^`\n]+`/, name: /\[[^\]\n]*\]\([^)\n]*\)/ },
};
const ENDINGS = {
  py: "python",
  pyi: "python",
  mako: "python",
  toml: "config",
  yaml: "config",
  yml: "config",
  ini: "config",
  example: "config",
  json: "json",
  md: "markdown",
};

function language(path) {
  const name = path
    .split("/")
    .at(-1)
    .replace(/\.jinja$/, "");
  return { Makefile: "make", Dockerfile: "docker" }[name] ?? ENDINGS[name.split(".").at(-1)];
}

// Return the lines of a text, each as a list of [class, text].
function highlighted(text, path) {
  const kinds = LANGUAGES[language(path)];
  const tokens = kinds ? tokensOf(text, kinds) : [["", text]];
  const lines = [[]];
  for (const [kind, token] of tokens) {
    token.split("\n").forEach((piece, i) => {
      if (i) lines.push([]);
      if (piece) lines.at(-1).push([kind, piece]);
    });
  }
  if (text.endsWith("\n")) lines.pop();
  return text ? lines : [];
}

function tokensOf(text, kinds) {
  const pattern = new RegExp(
    Object.entries(kinds)
      .map(([kind, { source }]) => `(?<${kind}>${source})`)
      .join("|"),
    "gm",
  );
  const tokens = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) tokens.push(["", text.slice(end, match.index)]);
    tokens.push([Object.keys(kinds).find((kind) => match.groups[kind] !== undefined), match[0]]);
    end = match.index + match[0].length;
  }
  tokens.push(["", text.slice(end)]);
  return tokens;
}

// Return the shortest edit that makes list b of list a: [sign, index in a, index in b] a line, sign "", "-" or "+".
// Myers, "An O(ND) difference algorithm and its variations", 1986.
function difference(a, b) {
  if (!a.length || !b.length) return [...a.map((_, x) => ["-", x, 0]), ...b.map((_, y) => ["+", 0, y])];
  const trace = [];
  const reach = new Map([[1, 0]]);
  const downwards = (reach, k, d) => k === -d || (k !== d && reach.get(k - 1) < reach.get(k + 1));
  search: for (let d = 0; ; d++) {
    trace.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      let x = downwards(reach, k, d) ? reach.get(k + 1) : reach.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reach.set(k, x);
      if (x >= a.length && x - k >= b.length) break search;
    }
  }
  const edit = [];
  let [x, y] = [a.length, b.length];
  for (let d = trace.length - 1; d >= 0; d--) {
    const before = trace[d];
    const k = x - y;
    const down = downwards(before, k, d);
    const fromX = before.get(down ? k + 1 : k - 1);
    const fromY = fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY) edit.push(["", --x, --y]);
    if (d) edit.push(down ? ["+", x, --y] : ["-", --x, y]);
  }
  return edit.reverse();
}

// Return the rows of the first table below a heading of Markdown, each as a list of cells.
function table(markdown, heading) {
  const [, below = ""] = markdown.split(`${heading}\n`);
  const lines = below.split("\n");
  const start = lines.findIndex((line) => line.startsWith("|---"));
  const rows = lines.slice(start + 1);
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith("|")),
    )
    .map((line) => line.slice(2, -2).split(" | "));
}

// Return the dependencies in a pyproject.toml: for the project, and for its development.
function dependencies(toml) {
  const list = (name) => {
    const [, block = ""] = toml.match(new RegExp(`^${name} = \\[\\n([^]*?)^\\]`, "m")) ?? [];
    return [...block.matchAll(/^\s*"([^"]+)"/gm)].map(([, dependency]) => dependency);
  };
  return { "to run": list("dependencies"), "to develop": list("dev") };
}
