// Entering one command's options: a row of named fields, with a panel above that explains the one in focus.

import { el, fill, debounce, freshId } from "./dom.js";
import { icon } from "./icons.js";
import { t, localDescription, localName } from "./i18n.js";
import { dataOf, OptionType } from "./commands.js";
import { choicesFor, typeNote, valueOf } from "./validation.js";
import { drawChoice, listedChoices, search } from "./choices.js";
import { listbox } from "./listbox.js";
import { interact, InteractionType } from "./interactions.js";
import { sizeOf } from "./format.js";

const AUTOCOMPLETE_PAUSE_MS = 220;

/**
 * @param {import("./commands.js").Entry} entry
 * @param {{
 *   leave: (text: string) => void,
 *   send: (values: object[], files: File[]) => void,
 *   fileProblem: (file: File) => string|null,
 *   first?: string,
 * }} how first: text for the first option
 * @returns {{
 *   row: HTMLElement, panel: HTMLElement, problem: HTMLElement,
 *   focus: () => void, submit: () => void, takeFile: (file: File) => boolean,
 * }}
 */
export function optionEntry(entry, { leave, send, fileProblem, first = "" }) {
  const problem = el("p.composer-problem", { role: "alert", hidden: true });
  const panelHead = el("div.panel-head");
  const panelBody = el("div.panel-body");
  const panelMore = el("div.panel-more");
  const panel = el("div.panel", {}, panelHead, panelBody, panelMore);
  const fields = entry.options.filter((option) => option.required).map((option) => makeField(option));
  const hidden = () => entry.options.filter((option) => !fields.some((field) => field.option === option));
  const more = el("div.more-options");
  const chip = el(
    "button.command-chip.entered",
    {
      type: "button",
      title: t("leaveCommand"),
      aria: { label: `/${entry.title}. ${t("leaveCommand")}` },
      on: { click: () => leave("") },
    },
    `/${entry.title}`,
    icon("close"),
  );
  const fieldRow = el(
    "div.option-fields",
    {},
    fields.map((field) => field.node),
  );
  // Holds the focus while there is no field: Enter sends, and a letter begins an option.
  const sink = el(
    "button.command-sink.sr-only",
    { type: "button", on: { click: submit, focus: () => explain(null) } },
    t("pressEnter"),
  );
  const row = el("div.option-row", { role: "group", aria: { label: `/${entry.title}` } }, chip, fieldRow, sink, more);
  drawMore();
  row.addEventListener("keydown", keys);
  if (first && fields[0]?.input) fields[0].set(first);
  else if (first && !fields.length) begin(first);

  function drawMore() {
    const left = hidden();
    sink.tabIndex = fields.length ? -1 : 0;
    fill(
      more,
      left.map((option) =>
        el(
          "button.option-add",
          {
            type: "button",
            title: localDescription(option),
            data: { option: option.name },
            on: { click: () => reveal(option) },
          },
          icon("plus"),
          localName(option),
        ),
      ),
    );
  }

  function reveal(option) {
    const field = makeField(option);
    fields.push(field);
    fieldRow.append(field.node);
    drawMore();
    field.focus();
    return field;
  }

  function conceal(field) {
    const at = fields.indexOf(field);
    fields.splice(at, 1);
    field.node.remove();
    drawMore();
    (fields[at - 1] ?? fields[0] ?? sink).focus();
  }

  /** Words typed where there is no field yet go into the first option that takes words, else into the first. */
  function begin(words) {
    const open = hidden().filter((option) => option.type !== OptionType.ATTACHMENT);
    const option = open.find((candidate) => candidate.type === OptionType.STRING) ?? open[0];
    if (!option) return false;
    reveal(option).set(words);
    return true;
  }

  function makeField(option) {
    const id = freshId("option");
    const name = localName(option);
    const field = { option, picked: null, file: null, list: null };
    const isFile = option.type === OptionType.ATTACHMENT;
    field.set = (text) => {
      field.input.value = text;
      field.input.dispatchEvent(new Event("input"));
    };
    if (isFile) {
      const chooser = el("input.sr-only", {
        type: "file",
        tabindex: -1,
        aria: { hidden: true },
        on: { change: () => field.take(chooser.files[0]) },
      });
      field.input = el(
        "button.option-input.file-button",
        { type: "button", id, on: { click: () => chooser.click() } },
        t("chooseFile"),
      );
      field.take = (file) => {
        const wrong = file && fileProblem(file);
        if (!file || wrong) {
          if (wrong) show(wrong, field);
          return;
        }
        field.file = file;
        field.input.textContent = `${file.name} · ${sizeOf(file.size)}`;
        clear(field);
      };
      field.input.append(chooser);
    } else {
      field.input = el("textarea.option-input", {
        id,
        rows: 1,
        autocomplete: "off",
        spellcheck: option.type === OptionType.STRING,
        role: "combobox",
        aria: { expanded: "false", autocomplete: "list", required: Boolean(option.required), haspopup: "listbox" },
      });
      field.input.addEventListener("input", () => {
        clear(field);
        if (document.activeElement === field.input) suggest(field);
      });
    }
    field.focus = () => field.input.focus();
    field.input.addEventListener("focus", () => explain(field));
    field.node = el(
      "div.option-field",
      { class: `${option.required ? "required" : "optional"} ${isFile ? "of-file" : ""}` },
      el("label", { for: id }, name),
      field.input,
    );
    return field;
  }

  function explain(field) {
    panel.hidden = false;
    if (!field) {
      fill(panelHead, el("strong", {}, `/${entry.title}`), el("span", {}, entry.description));
      fill(panelBody, el("p.none", {}, entry.options.length ? t("pressEnter") : t("noMoreInput")));
      return;
    }
    const { option } = field;
    fill(
      panelHead,
      el("strong", {}, localName(option)),
      el("span", {}, localDescription(option)),
      el("span.panel-type", {}, `${typeNote(option)} · ${t(option.required ? "required" : "optional")}`),
    );
    suggest(field);
  }

  function suggest(field) {
    const choices = choicesFor(field.option);
    field.list = null;
    fill(panelBody);
    if (!field.input.setAttribute || field.option.type === OptionType.ATTACHMENT) return;
    field.input.setAttribute("aria-expanded", String(Boolean(choices || field.option.autocomplete)));
    if (choices) {
      const query = field.picked?.name === field.input.value ? "" : field.input.value;
      offer(field, search(choices, query), t("noMatches"));
    } else if (field.option.autocomplete) {
      if (field.picked?.name === field.input.value && field.input.value) return;
      fill(panelBody, el("p.none", {}, t("loadingChoices")));
      lookUp(field);
    }
  }

  const lookUp = debounce(async (field) => {
    const asked = field.input.value;
    const values = fields
      .filter((other) => other !== field && other.input.value)
      .flatMap((other) => {
        const { value } = valueOf(other.option, entered(other));
        return value === undefined || value instanceof File
          ? []
          : [{ name: other.option.name, type: other.option.type, value }];
      });
    const data = dataOf(entry, [
      ...values,
      { name: field.option.name, type: field.option.type, value: asked, focused: true },
    ]);
    const result = await interact({ type: InteractionType.AUTOCOMPLETE, data });
    if (field.input.value !== asked || document.activeElement !== field.input) return;
    if (result.choices) offer(field, listedChoices(result.choices), t("noMatches"));
    else fill(panelBody, el("p.none", {}, result.reason ?? t("choicesFailed")));
  }, AUTOCOMPLETE_PAUSE_MS);

  function offer(field, choices, empty) {
    field.list = listbox({
      label: localName(field.option),
      draw: drawChoice,
      pick: (choice) => {
        field.picked = choice;
        field.input.value = choice.name;
        clear(field);
        const next = fields[fields.indexOf(field) + 1];
        if (next) next.focus();
        else suggest(field);
      },
    });
    field.list.serve(field.input);
    // Free text may be meant as typed: only lists that must be picked from start with an active entry.
    const must = !field.option.autocomplete;
    field.list.show(choices, { start: must && field.input.value ? 0 : -1, empty: el("p.none", {}, empty) });
    fill(panelBody, field.list.node);
  }

  function keys(event) {
    if (event.isComposing || event.keyCode === 229) return; // an input method is still at work
    const field = fields.find((candidate) => candidate.input === event.target);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      event.preventDefault();
      leave("");
    } else if (event.target === sink && isLetter(event)) {
      if (begin(event.key)) event.preventDefault();
    } else if (step && field?.list?.size()) {
      event.preventDefault();
      field.list.move(step);
    } else if (field && event.key === "Enter" && !event.shiftKey && field.option.type !== OptionType.ATTACHMENT) {
      event.preventDefault();
      if (field.list?.active() && field.picked?.name !== field.input.value) field.list.pickActive();
      else submit();
    } else if (
      field &&
      event.key === "Tab" &&
      !event.shiftKey &&
      field.list?.active() &&
      field.picked?.name !== field.input.value
    ) {
      event.preventDefault();
      field.list.pickActive();
    } else if (event.key === "Backspace" && (!field || (!field.input.value && !field.file))) {
      event.preventDefault();
      if (field && !field.option.required) conceal(field);
      else if (!field || fields.indexOf(field) === 0) leave(`/${entry.path}`);
      else fields[fields.indexOf(field) - 1].focus();
    }
  }

  const isLetter = ({ key, ctrlKey, metaKey, altKey }) =>
    key.length === 1 && key !== " " && !ctrlKey && !metaKey && !altKey;

  const entered = (field) => ({ text: field.input.value ?? "", picked: field.picked, file: field.file });

  function clear(field) {
    field.input.removeAttribute("aria-invalid");
    field.node.classList.remove("wrong");
    problem.hidden = true;
  }

  function show(sentence, field) {
    problem.textContent = sentence;
    problem.hidden = false;
    field.node.classList.add("wrong");
    field.input.setAttribute("aria-invalid", "true");
    field.focus();
  }

  function submit() {
    const results = fields.map((field) => valueOf(field.option, entered(field)));
    const wrong = results.findIndex((result) => result.problem);
    if (wrong >= 0) {
      results.forEach((result, index) => fields[index].node.classList.toggle("wrong", Boolean(result.problem)));
      show(results[wrong].problem, fields[wrong]);
      return;
    }
    const files = [];
    const values = fields.flatMap((field, index) => {
      let { value } = results[index];
      if (value === undefined) return [];
      if (value instanceof File) value = String(files.push(value) - 1);
      return [{ name: field.option.name, type: field.option.type, value }];
    });
    send(values, files);
  }

  return {
    row,
    panel,
    problem,
    submit,
    focus: () => (fields[0] ?? sink).focus(),
    takeFile(file) {
      let field = fields.find((candidate) => candidate.option.type === OptionType.ATTACHMENT && !candidate.file);
      const option = hidden().find((candidate) => candidate.type === OptionType.ATTACHMENT);
      if (!field && option) field = reveal(option);
      field?.take(file);
      return Boolean(field);
    },
  };
}
