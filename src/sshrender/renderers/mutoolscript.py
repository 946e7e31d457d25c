"""The script that ``mutool run`` executes: it keeps a document open and renders the pages asked for.

It gives the pixels of ``mutool draw``, in any order of pages. Facts about MuPDF 1.21.1, from its source
and measured with it:

- ``mutool draw`` renders a page's display list with the scale as the whole transformation, into the
  rectangle of the scaled page rounded outwards with a tolerance of 0.001, in single precision. The
  DocumentWriter scales by itself, unless it gets a rectangle in pixels and 72 dpi. It alone writes
  rasters, under its name with a number: ``%d``, 1 in each new writer.
- ``mutool draw`` simulates overprint where resources name a spot colour, or set OP. A script cannot do
  that: it *declines* such a page, also if the file has an output intent of other than three colours.
- A script can choose the smoothing of a page, not that of the glyphs of Type 3 fonts. Without smoothing
  ``mutool draw`` does not interpolate images either. Pages with those are then declined.
- The names in a dictionary of the document hide methods of its object (``/isName``). That raises an
  error; such a page is declined.
- Scaled images, the tiles of patterns and glyphs of Type 3 fonts stay in a cache, and a later page gets
  them as an earlier one needed them, at another size. Therefore the document is opened anew before a
  page that uses one that was used since it was opened, and after a page that found it broken.
- Warnings that repeat are only counted until another one comes. A reference to an object that an empty
  document does not have makes one, which ends the output of a page.
- Standard output is a buffer of at most 4096 bytes, which nothing flushes but more output.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

SCRIPT = r"""
var file = scriptArgs[0], zoom = +scriptArgs[1], size = scriptArgs[2].split("x"), aa = scriptArgs[3];
var dpi = +scriptArgs[4], files = scriptArgs[5];
var near = scriptArgs[6], nearLimit = +scriptArgs[7], far = scriptArgs[8], farLimit = +scriptArgs[9];
var doc = null, done = {}, wasBroken = false, empty = new PDFDocument(), count = 0, marks = 0, pad = "";
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

function look(resources, seen, page, depth) {
  var n = id(resources);
  if (!resources || !resources.isDictionary() || depth > 30 || (n && seen[n])) return;
  seen[n] = true;
  function space(o) { page.declined = page.declined || hasSpots(o, 0); }
  function use(o) { if (id(o)) page.used[id(o)] = true; }
  function enter(o) {
    use(o);
    if (id(o) && seen[id(o)]) return;
    seen[id(o)] = true;
    space(o.get("ColorSpace"));
    use(o.get("SMask"));
    use(o.get("Mask"));
    look(o.get("Resources"), seen, page, depth + 1);
  }
  each(resources.get("ColorSpace"), space);
  each(resources.get("Shading"), function (o) {
    if (o.isDictionary() || o.isStream()) space(o.get("ColorSpace"));
  });
  each(resources.get("XObject"), function (o) {
    if (!o.isStream()) return;
    if (text(o.get("Subtype")) === "Form") {
      if (!(id(o) && seen[id(o)])) {
        seen[id(o)] = true;
        look(o.get("Resources"), seen, page, depth + 1);
      }
    } else enter(o);
  });
  each(resources.get("Pattern"), function (o) {
    if (!o.isDictionary() && !o.isStream()) return;
    enter(o);
    state(o.get("ExtGState"));
  });
  function state(o) {
    if (!o || !o.isDictionary()) return;
    var over = o.get("OP"), mask = o.get("SMask");
    if (over && over.isBoolean() && over.asBoolean()) page.declined = true;
    if (!mask || !mask.isDictionary()) return;
    var group = mask.get("G");
    if (group && group.isStream()) look(group.get("Resources"), seen, page, depth + 1);
  }
  each(resources.get("ExtGState"), state);
  each(resources.get("Font"), function (o) {
    if (!o.isDictionary() || text(o.get("Subtype")) !== "Type3") return;
    enter(o);
    if (aa !== "") page.declined = true;
  });
}

function needs(number) {
  var page = { declined: false, used: {} }, seen = {}, node = doc.findPage(number - 1), up = 0;
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
    if (profile && profile.isStream() && +profile.get("N") !== 3) found = true;
  });
  return found;
}

function open() {
  doc = null;
  gc();
  doc = new Document(file);
  done = {};
  wasBroken = doc.isPDF() && doc.wasRepaired();
  return doc.countPages();
}

function hasImages(list) {
  var found = false;
  function see() { found = true; }
  list.run({ fillImage: see, fillImageMask: see, clipImageMask: see }, Identity);
  return found;
}

function render(number) {
  var known = { declined: false, used: {} }, again = false, n;
  var page, list, bounds, scale, area, writer, device, options;
  if (doc.isPDF()) {
    if (doc.wasRepaired() !== wasBroken) open();
    try {
      known = needs(number);
    } catch (e) {
      return "declined";
    }
    for (n in known.used) again = again || done[n];
    if (again) open();
    if (known.declined || hasOtherIntent()) return "declined";
    for (n in known.used) done[n] = true;
  }
  page = doc.loadPage(number - 1);
  bounds = page.bound();
  scale = scaleOf(bounds);
  area = box(bounds, scale);
  list = page.toDisplayList();
  if (aa === "0" && hasImages(list)) return "declined";
  var bytes = (area[2] - area[0]) * (area[3] - area[1]) * 3;
  var rasters = bytes <= nearLimit ? near : bytes <= farLimit ? far : "";
  if (rasters !== "") {
    options = "resolution=72,colorspace=rgb";
    if (aa !== "") options += ",graphics=aa" + aa + ",text=aa" + aa;
    writer = new DocumentWriter(rasters + count + ".%d", "pam", options);
    device = writer.beginPage(area);
    list.run(device, Scale(scale, scale));
    writer.endPage(device);
    writer.close();
    return rasters === near ? "near" : "far";
  }
  if (aa !== "") return "declined";
  var pixmap = new Pixmap(DeviceRGB, area, false);
  pixmap.clear(255);
  device = new DrawDevice(Identity, pixmap);
  list.run(device, Scale(scale, scale));
  device.close();
  pixmap.setResolution(dpi, dpi);
  pixmap.saveAsPNG(files + count + ".1");
  return "file";
}

function attempt(f, number) {
  try {
    return f(number);
  } catch (e) {
    write("error: " + String(e).replace(/[\r\n]+/g, " ") + "\n");
    return "failed";
  }
}

for (;;) {
  var words = readline().split(" "), answer = "0";
  if (words[0] === "open") answer = attempt(open, 0);
  if (words[0] === "close") doc = null;
  if (words[0] === "page") {
    count += 1;
    answer = count + " " + attempt(render, +words[2]);
  }
  gc();
  marks = (marks + 1) % 1000000;
  empty.newIndirect(1000000 + marks, 0).length;
  write("\n" + words[1] + " " + answer + "\n" + pad);
}
"""
