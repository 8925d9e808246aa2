// The variants of the template: answers, which of them are refused, and the files of a project.
"use strict";

class Variants {
  // data.js has the data: JSON, compressed with gzip, in base64. tools/docs_explorer.py says what is in it.
  static async load(packed) {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Variants(await new Response(stream).json());
  }

  constructor({ prompts, refused, places, paths, texts }) {
    Object.assign(this, { prompts, refused, places, paths, texts });
    this.answers = prompts.map((prompt) => Object.keys(prompt.answers));
    this.defaults = Object.fromEntries(prompts.map((prompt, i) => [prompt.name, this.answers[i][0]]));
  }

  // Return the files of a project, as a map of texts by path.
  files(choice) {
    const chosen = this.prompts.map((prompt, i) => this.answers[i].indexOf(choice[prompt.name]));
    const found = ([named, numbers]) => numbers[named.reduce((row, i) => row * this.answers[i].length + chosen[i], 0)];
    const text = (part) => this.texts[Array.isArray(part) ? found(part) : part];
    const files = new Map();
    for (const [path, table] of Object.entries(this.paths)) {
      const place = found(table);
      if (place >= 0) files.set(path, this.places[place].map(text).join(""));
    }
    return files;
  }

  // Return the reasons against a choice.
  reasons(choice) {
    return this.refused.filter(({ answers }) => holds(choice, answers)).map(({ reason }) => reason);
  }

  // Return a choice in which what is refused is replaced, as the template proposes it.
  better(choice) {
    const found = { ...choice };
    for (const { answers, instead } of this.refused) if (holds(found, answers)) Object.assign(found, instead);
    return found;
  }

  // Return the answers of a choice that are not the default.
  changed(choice) {
    return Object.entries(choice).filter(([prompt, answer]) => answer !== this.defaults[prompt]);
  }

  command(choice) {
    const given = this.changed(choice).map(([prompt, answer]) => ` ${prompt}=${answer}`);
    return `uvx cookiecutter TEMPLATE --no-input${given.join("")}`;
  }
}

function holds(choice, answers) {
  return Object.entries(answers).every(([prompt, answer]) => choice[prompt] === answer);
}
