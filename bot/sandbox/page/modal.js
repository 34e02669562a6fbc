// The bot's forms (modals) as accessible dialogs, and a small dialog of our own that asks for one line of text.

import { el, freshId } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { on } from "./state.js";
import { interact, InteractionType } from "./interactions.js";
import { Kind } from "./components.js";
import { rich } from "./media.js";
import { selectControl } from "./selects.js";
import { botName } from "./people.js";

/** Opens a dialog whenever the bot sends a modal. */
export function mountModals() {
  on("modal", openModal);
}

/** @param {{id: string, custom_id: string, title: string, components: object[], channel_id?: string}} modal */
export function openModal(modal) {
  const files = [];
  const fields = modal.components.map((component) => fieldOf(component, files));
  const problem = el("p.form-problem", { role: "alert", hidden: true });
  const submit = el(
    "button.button.primary",
    { type: "submit" },
    el("span.button-face", {}, t("submit")),
    el("span.spinner", { aria: { hidden: true } }),
  );
  const { dialog, form } = dialogOf(modal.title, [
    el(
      "div.form-fields",
      {},
      fields.map((field) => field.node),
    ),
    problem,
    el("p.form-note", {}, icon("info"), t("modalNote", { name: botName() })),
    el(
      "div.form-buttons",
      {},
      el("button.button.secondary", { type: "button", on: { click: () => dialog.close() } }, t("cancel")),
      submit,
    ),
  ]);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.getAttribute("aria-busy") === "true") return;
    problem.hidden = true;
    const checks = fields.map((field) => field.check?.() ?? null);
    const wrong = checks.findIndex(Boolean);
    if (wrong >= 0) {
      problem.textContent = checks[wrong];
      problem.hidden = false;
      fields[wrong].focus?.();
      return;
    }
    files.length = 0;
    const components = fields.map((field) => field.submitted?.()).filter(Boolean);
    submit.setAttribute("aria-busy", "true");
    const result = await interact({
      type: InteractionType.MODAL,
      channel_id: modal.channel_id,
      files: files.map(({ file }) => file),
      data: {
        id: modal.id,
        custom_id: modal.custom_id,
        components,
        ...(files.length
          ? { attachments: files.map(({ file }, index) => ({ id: String(index), filename: file.name })) }
          : {}),
      },
    });
    submit.removeAttribute("aria-busy");
    if (result.ok) {
      dialog.close();
      return;
    }
    problem.textContent = `${result.reason} · ${t("modalUnanswered", { name: botName() })}`;
    problem.hidden = false;
  });
}

/**
 * @param {string} title
 * @param {any[]} body
 * @returns {{dialog: HTMLDialogElement, form: HTMLFormElement}} shown, and removed when it closes
 */
function dialogOf(title, body) {
  const heading = freshId("dialog");
  const form = el(
    "form.form",
    { novalidate: true },
    el(
      "header.form-head",
      {},
      el("h2", { id: heading }, title),
      el(
        "button.icon-button",
        { type: "button", title: t("close"), aria: { label: t("close") }, on: { click: () => dialog.close() } },
        icon("close"),
      ),
    ),
    body,
  );
  const dialog = el("dialog.dialog", { aria: { labelledby: heading } }, form);
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector(".form-fields input, .form-fields textarea, .form-fields button")?.focus();
  return { dialog, form };
}

/** @returns {{node: HTMLElement, check?: () => string|null, submitted?: () => object, focus?: () => void}} */
function fieldOf(component, files) {
  if (component.type === Kind.TEXT) return { node: rich("text-display", component.html, component.content) };
  const row = component.type === Kind.ROW;
  const inner = row ? component.components[0] : component.component;
  const label = (row ? inner.label : component.label) ?? "";
  const required = inner.required ?? inner.type !== Kind.CHECKBOX;
  const build =
    FIELDS[inner.type] ?? (inner.options && inner.type === Kind.RADIO_GROUP ? FIELDS[Kind.RADIO_GROUP] : selectField);
  const ids = { field: freshId("field"), label: freshId("label"), note: freshId("note") };
  const field = build(inner, { label, required, ids, files });
  const node = el(
    "div.field",
    {},
    el(
      "label.field-label",
      { for: ids.field, id: ids.label },
      label,
      el(
        "span.field-need",
        { class: required ? "required" : "" },
        required ? el("span", { title: t("required"), aria: { label: t("required") } }, "*") : `(${t("optional")})`,
      ),
    ),
    component.description ? el("p.field-note", { id: ids.note }, component.description) : null,
    field.node,
  );
  const submitted = () => {
    const value = {
      type: inner.type,
      custom_id: inner.custom_id,
      ...(inner.id === undefined ? {} : { id: inner.id }),
      ...field.value(),
    };
    const outer = { type: component.type, ...(component.id === undefined ? {} : { id: component.id }) };
    return row ? { ...outer, components: [value] } : { ...outer, component: value };
  };
  return { node, check: field.check, submitted, focus: field.focus };
}

const FIELDS = {
  [Kind.TEXT_INPUT](component, { label, required, ids }) {
    const long = component.style === 2;
    const most = component.max_length ?? 4000;
    const least = component.min_length ?? 0;
    const input = el(long ? "textarea.input" : "input.input", {
      id: ids.field,
      type: long ? null : "text",
      rows: long ? 5 : null,
      placeholder: component.placeholder ?? null,
      value: component.value ?? "",
      maxlength: most,
      required,
      autocomplete: "off",
      aria: { describedby: `${ids.note} ${ids.field}-count` },
    });
    const count = el("span.field-count", { id: `${ids.field}-count` });
    const draw = () => {
      count.textContent = `${input.value.length}/${most}`;
      input.removeAttribute("aria-invalid");
    };
    input.addEventListener("input", draw);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) input.form.requestSubmit();
    });
    draw();
    return {
      node: el("div.input-wrap", {}, input, count),
      value: () => ({ value: input.value }),
      focus: () => input.focus(),
      check() {
        const length = input.value.length;
        const sentence =
          required && !input.value.trim()
            ? t("fieldRequired", { name: label })
            : length && length < least
              ? t("fieldShort", { name: label, min: least, count: length })
              : length > most
                ? t("fieldLong", { name: label, max: most, count: length })
                : null;
        if (sentence) input.setAttribute("aria-invalid", "true");
        return sentence;
      },
    };
  },
  [Kind.FILE_UPLOAD](component, { label, required, ids, files }) {
    const several = (component.max_values ?? 1) > 1;
    const input = el("input.file-input", { id: ids.field, type: "file", multiple: several });
    return {
      node: input,
      focus: () => input.focus(),
      check: () =>
        required && input.files.length < (component.min_values ?? 1) ? t("needFile", { name: label }) : null,
      value: () => ({
        values: [...input.files].slice(0, component.max_values ?? 1).map((file) => String(files.push({ file }) - 1)),
      }),
    };
  },
  [Kind.RADIO_GROUP]: (component, how) => optionGroup("radio", component, how),
  [Kind.CHECKBOX_GROUP]: (component, how) => optionGroup("checkbox", component, how),
  [Kind.CHECKBOX](component, { ids }) {
    const input = el("input", { id: ids.field, type: "checkbox", checked: Boolean(component.default) });
    return { node: input, focus: () => input.focus(), value: () => ({ value: input.checked }) };
  },
};

function optionGroup(type, component, { label, required, ids }) {
  const inputs = component.options.map((option) =>
    el("input", { type, name: ids.field, value: option.value, checked: Boolean(option.default) }),
  );
  const node = el(
    "div.option-group",
    { role: type === "radio" ? "radiogroup" : "group", aria: { labelledby: ids.label } },
    component.options.map((option, index) =>
      el(
        "label.option-line",
        {},
        inputs[index],
        el("span", {}, option.label),
        option.description ? el("small", {}, option.description) : null,
      ),
    ),
  );
  const chosen = () => inputs.filter((input) => input.checked).map((input) => input.value);
  return {
    node,
    focus: () => inputs[0]?.focus(),
    check: () =>
      required && chosen().length < Math.max(1, component.min_values ?? 1) ? t("fieldRequired", { name: label }) : null,
    value: () => (type === "radio" ? { value: chosen()[0] ?? null } : { values: chosen() }),
  };
}

function selectField(component, { label, required, ids }) {
  const control = selectControl(component, { label, labelledby: ids.label });
  control.button.id = ids.field;
  return {
    node: control.node,
    focus: () => control.button.focus(),
    check: () =>
      required && control.values().length < Math.max(1, component.min_values ?? 1)
        ? t("fieldRequired", { name: label })
        : null,
    value: () => ({ values: control.values() }),
  };
}

/**
 * Asks for one line of text.
 * @param {string} title
 * @param {string} label
 * @param {{value?: string, most?: number}} [how]
 * @returns {Promise<string|null>} null where it was called off
 */
export function askLine(title, label, { value = "", most = 100 } = {}) {
  return new Promise((resolve) => {
    const input = el("input.input", { id: freshId("ask"), type: "text", value, maxlength: most, autocomplete: "off" });
    const { dialog, form } = dialogOf(title, [
      el("div.form-fields", {}, el("div.field", {}, el("label.field-label", { for: input.id }, label), input)),
      el(
        "div.form-buttons",
        {},
        el("button.button.secondary", { type: "button", on: { click: () => dialog.close() } }, t("cancel")),
        el("button.button.primary", { type: "submit" }, title),
      ),
    ]);
    let line = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      line = input.value.trim() || null;
      if (line) dialog.close();
      else input.focus();
    });
    dialog.addEventListener("close", () => resolve(line));
    input.select();
  });
}
