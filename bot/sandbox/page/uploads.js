// Files waiting beside the message that will carry them: chosen, dropped or pasted, checked for size, described.

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { sizeOf } from "./format.js";

export const MOST_FILE_BYTES = 10 * 1024 * 1024; // Discord's limit on a file without boosts
const MOST_FILES = 10;

/** @param {File} file @returns {string|null} a sentence where it cannot be sent */
export function fileProblem(file) {
  return file.size > MOST_FILE_BYTES
    ? t("fileTooBig", { name: file.name, size: sizeOf(file.size), max: sizeOf(MOST_FILE_BYTES) })
    : null;
}

/**
 * @param {{onChange: () => void, onProblem: (sentence: string) => void}} listeners
 * @returns {{node: HTMLElement, add: (files: Iterable<File>) => void, take: () => {file: File, description?: string}[],
 *   restore: (entries: object[]) => void, count: () => number}}
 */
export function uploadTray({ onChange, onProblem }) {
  let entries = [];
  const node = el("ul.tray", { hidden: true });

  const draw = () => {
    fill(
      node,
      entries.map((entry) =>
        el(
          "li.tray-item",
          {},
          preview(entry),
          el(
            "div.tray-words",
            {},
            el("span.tray-name", { title: entry.file.name }, entry.file.name),
            el("span.tray-size", {}, sizeOf(entry.file.size)),
            isPicture(entry.file)
              ? el("input.tray-alt", {
                  type: "text",
                  maxlength: 1024,
                  value: entry.description ?? "",
                  placeholder: t("describe"),
                  aria: { label: `${t("describe")}: ${entry.file.name}` },
                  on: {
                    input: (event) => {
                      entry.description = event.target.value;
                    },
                  },
                })
              : null,
          ),
          el(
            "button.icon-button.small",
            {
              type: "button",
              title: t("removeFile", { name: entry.file.name }),
              aria: { label: t("removeFile", { name: entry.file.name }) },
              on: { click: () => remove(entry) },
            },
            icon("close"),
          ),
        ),
      ),
    );
    node.hidden = entries.length === 0;
    onChange();
  };
  const remove = (entry) => {
    if (entry.address) URL.revokeObjectURL(entry.address);
    entries = entries.filter((other) => other !== entry);
    draw();
  };
  const preview = (entry) => {
    if (!isPicture(entry.file)) return el("span.tray-icon", {}, icon("file"));
    entry.address ??= URL.createObjectURL(entry.file);
    return el("img.tray-picture", { src: entry.address, alt: "" });
  };

  return {
    node,
    add(files) {
      for (const file of files) {
        const problem = fileProblem(file);
        if (problem) onProblem(problem);
        else if (entries.length >= MOST_FILES) onProblem(t("tooManyFiles", { max: MOST_FILES }));
        else entries.push({ file });
      }
      draw();
    },
    take() {
      const taken = entries;
      entries = [];
      draw();
      return taken;
    },
    restore(back) {
      entries = [...back, ...entries];
      draw();
    },
    count: () => entries.length,
  };
}

const isPicture = (file) => /^image\/(png|jpeg|gif|webp)$/.test(file.type);

/**
 * Lets files be dropped on the page and pasted anywhere in it.
 * @param {HTMLElement} area that shows it would take them
 * @param {(files: File[]) => void} take
 */
export function mountDrops(area, take) {
  let depth = 0;
  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  area.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    area.classList.add("dropping");
  });
  area.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  area.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (!depth) area.classList.remove("dropping");
  });
  area.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    area.classList.remove("dropping");
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    take(files);
  });
}
