// SPDX-License-Identifier: GPL-2.0-only
// What a reader gets to see of the page: a list of what cannot be read, and how much there is.
(() => {
  const LEAST_TEXT_PX = 10;
  const LEAST_CONTRAST = 4.5;
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  // Red, green and blue of a colour, in whatever notation it is.
  function channels(colour) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }

  // As WCAG has them.
  function luminance(colour) {
    const [red, green, blue] = channels(colour).slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function contrast(one, other) {
    const [dark, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  }

  function ground(element) {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
    return "white";
  }

  // Figures hold styles and metadata, too.
  function isText(element) {
    if (element.closest("svg") && !(element instanceof SVGTextContentElement)) return false;
    return [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  }

  const problems = [];
  const elements = [...document.body.querySelectorAll("*")].filter(isText);
  for (const element of elements) {
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const scale = drawn ? element.getScreenCTM().a : 1;
    const size = parseFloat(style.fontSize) * scale;
    const ratio = contrast(drawn ? style.fill : style.color, ground(element));
    const words = element.textContent.trim().slice(0, 30);
    if (size < LEAST_TEXT_PX) problems.push(`${words}: ${size.toFixed(1)} px`);
    if (ratio < LEAST_CONTRAST) problems.push(`${words}: contrast of ${ratio.toFixed(1)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth)
    problems.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  return {
    problems,
    brightness: luminance(ground(document.body)),
    texts: elements.length,
    figures: [...document.querySelectorAll("figure svg")].map((svg) => {
      const { width, height } = svg.getBoundingClientRect();
      return { width, height, label: svg.getAttribute("aria-label") };
    }),
    rows: document.querySelectorAll("table tr").length,
  };
})()
