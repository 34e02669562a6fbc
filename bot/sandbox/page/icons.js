// The page's icons as stroke paths on a 24-unit grid, drawn for Inkwell.

const PATHS = {
  hash: "M9.5 4 7.5 20M16.5 4l-2 16M4.5 9h16M3.5 15h16",
  thread: "M4 5h16v9H11l-4 4v-4H4zM8 9h8",
  at: "M15.5 12a3.5 3.5 0 1 1-7 0 3.5 3.5 0 0 1 7 0zm0 0v1.2c0 3.3 5 2.8 5-1.4A8.5 8.5 0 1 0 16.5 19",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  megaphone: "M4 10v4h3l8 5V5L7 10zM18.5 9a4 4 0 0 1 0 6",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  send: "M4 12 20 4l-5.5 16-3-6.5zM11.5 13.5 20 4",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16z",
  people:
    "M9 11a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 9 11zM3 19c0-3.3 2.7-5.5 6-5.5s6 2.2 6 5.5M16 5.2a3 3 0 0 1 0 5.6M17.5 14c2.1.7 3.5 2.5 3.5 5",
  menu: "M4 7h16M4 12h16M4 17h16",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  reply: "M10 7 4.5 12 10 17M5 12h8c4 0 6.5 2 6.5 6",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 2.5-2.5L20 17M15.5 9h.01",
  down: "M6 9.5l6 6 6-6",
  arrowDown: "M12 5v14M6 13l6 6 6-6",
  right: "M9.5 6l6 6-6 6",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 14.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6z",
  warning: "M12 4 2.5 20h19zM12 10v4.5M12 17.3h.01",
  external: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  slash: "M15.5 4l-7 16",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 11v5.5M12 7.8h.01",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  pen: "M4 20c3-9 8-14 16-16-2 8-7 13-13 13M4 20l6.5-6.5",
  trash: "M5 7h14M10 7V4.5h4V7M6.5 7l1 13h9l1-13M10.5 11v5M13.5 11v5",
  app: "M4 4h6.5v6.5H4zM13.5 4H20v6.5h-6.5zM4 13.5h6.5V20H4zM16.75 13.5v6.5M13.5 16.75H20",
};

const SVG = "http://www.w3.org/2000/svg";

/** @param {keyof PATHS} name @param {string} [className] @returns {SVGElement} decorative, hidden from readers */
export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name} ${className}`.trim());
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.appendChild(path);
  return svg;
}
