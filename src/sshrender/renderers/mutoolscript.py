"""The script that ``mutool run`` executes: it keeps a document open and renders the pages asked for.

It gives the pixels of ``mutool draw``, in any order of pages. Facts about MuPDF 1.21.1, from its source
and measured with it:

- ``mutool draw`` renders a page's display list with the scale as the whole transformation, into the
  rectangle of the scaled page rounded outwards with a tolerance of 0.001, in single precision. The
  DocumentWriter scales by itself, unless it gets a rectangle in pixels and 72 dpi. It alone writes
  rasters, under its name with a number: ``%d``, 1 in each new writer.
- ``mutool draw`` simulates overprint if resources name a spot colour, or set OP. A script cannot do
  that: it *declines* such a page, also if the file has an output intent of other than three colours.
- A script can choose the smoothing of a page, not that of the glyphs of Type 3 fonts. Without smoothing
  ``mutool draw`` does not interpolate images either. Pages with those are then declined.
- The names in a dictionary of the document hide methods of its object (``/isName``). That raises an
  error; such a page is declined.
- Scaled images and the glyphs of Type 3 fonts stay in a cache, and a later page gets them as an earlier
  one needed them, at another size. Therefore the document is opened again before a page that uses one
  that was used since it was opened, and after a page that found it broken. The tiles of patterns stay
  even then: a page with tiles of a pattern that an earlier page had is declined.
- A display list tells whether a page has images and tiles (only ``endTile`` can be received: beginTile
  leaves its exception handler behind), and not which; the resources tell which it may have.
- Warnings that repeat are only counted until another one comes. A reference to an object that an empty
  document does not have makes one, which ends the output of a page.
- A line that the script reads has at most 255 bytes. ``authenticatePassword`` takes characters, and
  encodes them as the document's encryption has them.
- Standard output is a buffer of at most 4096 bytes, which nothing flushes but more output.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

SCRIPT = r"""
var file = scriptArgs[0], zoom = +scriptArgs[1], size = scriptArgs[2].split("x"), aa = scriptArgs[3];
var dpi = +scriptArgs[4], files = scriptArgs[5];
var near = scriptArgs[6], nearLimit = +scriptArgs[7], far = scriptArgs[8], farLimit = +scriptArgs[9];
var copy = scriptArgs[10], isGrey = scriptArgs[11] === "gray", password = "", hasCopy = false;
var folder = copy.replace(/[^\/]*$/, ""), last = null;
var doc = null, known = {}, used = {}, tiles = {}, wasBroken = false;
var empty = new PDFDocument(), count = 0, marks = 0, pad = "";
while (pad.length < 4096) pad += "                                                               \n";

function single(x) {
  if (x === 0 || x !== x || x === Infinity || x === -Infinity) return x;
  var unit = Math.pow(2, Math.floor(Math.log(Math.abs(x)) / Math.LN2) - 23);
  var whole = Math.floor(x / unit), rest = x / unit - whole;
  if (rest > 0.5 || (rest === 0.5 && whole % 2 !== 0)) whole += 1;
  return whole * unit;
}
var SMALL = single(0.001);

function box(b, scale) {
  function low(x) { return Math.floor(single(single(x * scale) + SMALL)); }
  function high(x) { return Math.ceil(single(single(x * scale) - SMALL)); }
  return [low(b[0]), low(b[1]), high(b[2]), high(b[3])];
}

function scaleOf(b) {
  if (size.length < 2) return zoom;
  var x = single(size[0] / single(b[2] - b[0])), y = single(size[1] / single(b[3] - b[1]));
  return x > y ? y : x;
}

function text(o) { return o && o.isName() ? o.asName() : ""; }
function id(o) { return o && o.isIndirect() ? o.asIndirect() : 0; }
function each(all, f) {
  if (all && (all.isDictionary() || all.isArray())) all.forEach(function (a, b) {
    var one = typeof b === "object" ? b : a;
    if (one) f(one);
  });
}

function isSpot(name) {
  return ["Black", "Cyan", "Magenta", "Yellow", "All", "None"].indexOf(text(name)) < 0;
}

function hasSpots(space, depth) {
  if (!space || !space.isArray() || depth > 8) return false;
  var kind = text(space.get(0)), found = false;
  if (kind === "Separation") return isSpot(space.get(1));
  if (kind === "Indexed") return hasSpots(space.get(1), depth + 1);
  if (kind !== "DeviceN") return false;
  var names = space.get(1), more = space.get(4);
  each(names, function (name) { found = found || isSpot(name); });
  if (more && more.isDictionary())
    each(more.get("Colorants"), function (one) { found = found || hasSpots(one, depth + 1); });
  return found;
}

function found() { return { declined: false, images: {}, fonts: {}, patterns: {} }; }

function add(to, from) {
  to.declined = to.declined || from.declined;
  ["images", "fonts", "patterns"].forEach(function (kind) {
    for (var n in from[kind]) to[kind][n] = true;
  });
}

function look(resources, seen, page, depth) {
  if (!resources || !resources.isDictionary() || depth > 30 || again(resources)) return;
  function again(o) {
    var n = id(o), was = n !== 0 && seen[n] === true;
    seen[n] = true;
    return was;
  }
  function space(o) { page.declined = page.declined || hasSpots(o, 0); }
  function enter(o) { look(o.get("Resources"), seen, page, depth + 1); }
  function image(o) { if (id(o)) page.images[id(o)] = true; }
  var visit = {
    ColorSpace: space,
    Shading: function (o) { if (o.isDictionary() || o.isStream()) space(o.get("ColorSpace")); },
    XObject: function (o) {
      if (!o.isStream() || again(o)) return;
      space(o.get("ColorSpace"));
      if (text(o.get("Subtype")) !== "Form") [o, o.get("SMask"), o.get("Mask")].forEach(image);
      enter(o);
    },
    Pattern: function (o) {
      if ((!o.isDictionary() && !o.isStream()) || again(o)) return;
      if (o.isStream() && id(o)) page.patterns[id(o)] = true;
      visit.ExtGState(o.get("ExtGState"));
      enter(o);
    },
    ExtGState: function (o) {
      if (!o || !o.isDictionary() || again(o)) return;
      var over = o.get("OP"), mask = o.get("SMask");
      if (over && over.isBoolean() && over.asBoolean()) page.declined = true;
      if (!mask || !mask.isDictionary()) return;
      var group = mask.get("G");
      if (group && group.isStream() && !again(group)) enter(group);
    },
    Font: function (o) {
      if (!o.isDictionary() || text(o.get("Subtype")) !== "Type3" || again(o)) return;
      page.fonts[id(o)] = true;
      if (aa !== "") page.declined = true;
      enter(o);
    }
  };
  for (var kind in visit) {
    var all = resources.get(kind), n = id(all);
    if (depth > 0 || n === 0) {
      if (!again(all)) each(all, visit[kind]);
      continue;
    }
    // Many documents have one dictionary for all pages, with thousands of names.
    if (!known[n]) {
      var outer = page, before = seen;
      page = known[n] = found();
      seen = {};
      again(all);
      each(all, visit[kind]);
      page = outer;
      seen = before;
    }
    add(page, known[n]);
  }
}

function needs(number) {
  var page = found(), seen = {}, node = doc.findPage(number - 1), up = 0;
  var resources = node.get("Resources"), annotations = node.get("Annots");
  for (var over = node; !resources && up < 100; up++) {
    over = over.get("Parent");
    if (!over || !over.isDictionary()) break;
    resources = over.get("Resources");
  }
  look(resources, seen, page, 0);
  each(annotations, function (one) {
    var looks = one.isDictionary() ? one.get("AP") : null;
    var normal = looks && looks.isDictionary() ? looks.get("N") : null;
    if (!normal) return;
    if (normal.isStream()) look(normal.get("Resources"), seen, page, 0);
    else each(normal, function (o) { if (o.isStream()) look(o.get("Resources"), seen, page, 0); });
  });
  return page;
}

function hasOtherIntent() {
  var found = false, root = doc.getTrailer().get("Root");
  var intents = root && root.isDictionary() ? root.get("OutputIntents") : null;
  each(intents, function (one) {
    var profile = one.isDictionary() ? one.get("DestOutputProfile") : null;
    if (profile && profile.isStream() && (isGrey || +profile.get("N") !== 3)) found = true;
  });
  return found;
}

function open() {
  doc = null;
  gc();
  doc = new Document(file);
  if (doc.needsPassword() && !doc.authenticatePassword(password)) {
    doc = null;
    throw "wrong or no password";
  }
  used = {};
  if (wasBroken !== (doc.isPDF() && doc.wasRepaired())) known = {};
  wasBroken = doc.isPDF() && doc.wasRepaired();
  return doc.countPages();
}

function placeOf(area) {
  var bytes = (area[2] - area[0]) * (area[3] - area[1]) * (isGrey ? 1 : 3);
  return bytes <= nearLimit ? "near" : bytes <= farLimit ? "far" : "";
}

function declined(number) {
  try {
    var bounds = doc.loadPage(number - 1).bound(), place = placeOf(box(bounds, scaleOf(bounds)));
    return place === "" ? "declined" : "declined-" + place;
  } catch (e) {
    return "declined";
  }
}

function watch(list) {
  var what = { images: false, tiles: false };
  function image() { what.images = true; }
  list.run({
    fillImage: image, fillImageMask: image, clipImageMask: image,
    endTile: function () { what.tiles = true; }
  }, Identity);
  return what;
}

function isKnown(some, all) {
  for (var n in some) if (all[n]) return true;
  return false;
}

function render(number) {
  var needed = found(), page, list, what, bounds, scale, area, writer, device, options, n;
  if (doc === null) {
    try {
      open();
    } catch (e) {
      throw "the document is not open: " + words(e);
    }
  }
  if (doc.isPDF() && doc.wasRepaired() !== wasBroken) open();
  if (doc.isPDF()) {
    try {
      needed = needs(number);
    } catch (e) {
      return "declined";
    }
    if (needed.declined || hasOtherIntent()) return "declined";
  }
  page = doc.loadPage(number - 1);
  list = page.toDisplayList();
  what = watch(list);
  if (aa === "0" && what.images) return "declined";
  if (!what.images) needed.images = {};
  if (!what.tiles) needed.patterns = {};
  if (isKnown(needed.patterns, tiles)) return "declined";
  if (isKnown(needed.images, used) || isKnown(needed.fonts, used)) {
    page = list = null;
    open();
    page = doc.loadPage(number - 1);
    list = page.toDisplayList();
  }
  for (n in needed.images) used[n] = true;
  for (n in needed.fonts) used[n] = true;
  for (n in needed.patterns) tiles[n] = true;
  bounds = page.bound();
  scale = scaleOf(bounds);
  area = box(bounds, scale);
  var place = placeOf(area), rasters = place === "near" ? near : far;
  if (place !== "") {
    options = "resolution=72,colorspace=" + (isGrey ? "gray" : "rgb");
    if (aa !== "") options += ",graphics=aa" + aa + ",text=aa" + aa;
    writer = new DocumentWriter(rasters + count + ".%d", "pam", options);
    device = writer.beginPage(area);
    list.run(device, Scale(scale, scale));
    writer.endPage(device);
    writer.close();
    return place;
  }
  if (aa !== "") return "declined";
  var pixmap = new Pixmap(isGrey ? DeviceGray : DeviceRGB, area, false);
  pixmap.clear(255);
  device = new DrawDevice(Identity, pixmap);
  list.run(device, Scale(scale, scale));
  device.close();
  pixmap.setResolution(dpi, dpi);
  pixmap.saveAsPNG(files + count + ".1");
  last = { list: list, bounds: bounds };
  return "file";
}

function thumbnail(number) {
  if (last === null) return;
  var b = last.bounds, scale = 224 / Math.max(b[2] - b[0], b[3] - b[1]);
  var area = [0, 1, 2, 3].map(function (n) { return Math.round(b[n] * scale); });
  area[2] = Math.max(area[2], area[0] + 1);
  area[3] = Math.max(area[3], area[1] + 1);
  var pixmap = new Pixmap(isGrey ? DeviceGray : DeviceRGB, area, false);
  pixmap.clear(255);
  var device = new DrawDevice(Identity, pixmap);
  last.list.run(device, Scale(scale, scale));
  device.close();
  pixmap.saveAsPNG(folder + "thumbnail." + count);
}

function renderOrCopy(number) {
  last = null;
  var answer = render(number);
  if (answer !== "declined") return answer;
  if (password !== "" && !hasCopy) {
    doc.save(copy, "decrypt");
    hasCopy = true;
    open();
  }
  return declined(number);
}

function addToPassword(codes) {
  codes.split(",").forEach(function (code) { password += String.fromCharCode(+code); });
}

function words(e) { return String(e).split(/[\r\n]/)[0].replace(/^Error: /, ""); }

function attempt(f, number) {
  try {
    return f(number);
  } catch (e) {
    write("error: " + words(e) + "\n");
    return "failed";
  }
}

for (;;) {
  var line = readline().split(" "), answer = "0";
  if (line[0] === "password") {
    addToPassword(line[1]);
    continue;
  }
  if (line[0] === "open") answer = attempt(open, 0);
  if (line[0] === "close") doc = null;
  if (line[0] === "page") {
    count += 1;
    answer = count + " " + attempt(renderOrCopy, +line[2]);
  }
  if (line[0] === "thumbnail") {
    answer = Date.now();
    attempt(thumbnail, 0);
    answer = line[2] + " " + (count - 1) + " " + (Date.now() - answer);
  }
  gc();
  marks = (marks + 1) % 1000000;
  empty.newIndirect(1000000 + marks, 0).length;
  write("\n" + line[1] + " " + answer + "\n" + pad);
}
"""
