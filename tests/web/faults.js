// What a check of accessibility finds: names, ids, headings, contrast (WCAG 2.2, 1.4.3), sideways scrolling.
(() => {
  const faults = [], seen = (element) => element.getClientRects().length && getComputedStyle(element).visibility !== 'hidden';
  const name = (element) => (element.getAttribute('aria-label') || element.labels?.[0]?.textContent || element.textContent
    || document.getElementById(element.getAttribute('aria-labelledby'))?.textContent || element.title || '').trim();
  for (const element of document.querySelectorAll('button, a[href], input, select, textarea, progress, dialog, [role=img]'))
    if (seen(element) && !name(element)) faults.push(`no name: ${element.outerHTML.slice(0, 90)}`);
  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`twice: ${id}`);
  if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
  if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
  if (!document.documentElement.lang) faults.push('no lang');
  for (const image of document.images) if (image.alt === null || !image.hasAttribute('alt')) faults.push('an image without alt');
  const part = (value) => { value /= 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const light = (rgb) => 0.2126 * part(rgb[0]) + 0.7152 * part(rgb[1]) + 0.0722 * part(rgb[2]);
  const colour = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) { const found = colour(getComputedStyle(at).backgroundColor); if (found.length === 3 || found[3] > 0.5) return found; }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !seen(element) || ['SCRIPT', 'STYLE', 'OPTION'].includes(element.tagName) || element.closest('.unseen, .skip')) continue;
    const [one, two] = [light(colour(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(1)}: ${element.outerHTML.slice(0, 90)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return [...new Set(faults)];
})()
