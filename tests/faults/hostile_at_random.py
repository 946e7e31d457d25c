"""A host that attacks at random, with its files, its messages and its greeting (issue 13).

Each connection is seeded by the test's seed, the job and the number of the connection, so that the
same seed attacks in the same order. A quarter of the pages are rendered honestly: a host that only lies
gets no pages after a while, and then attacks nothing.
"""

from __future__ import annotations

from tests.faults.hostile import turn
from tests.lab.host import Host

_SETTING = r"""
import base64, random, struct, zlib

SEED, SECRET = @SEED@, @SECRET@
COUNTER = "/var/tmp/connections"

def count_up():
    with open(COUNTER, "a+") as file:
        file.write("x")
        return file.tell()

RNG = None
IGNORED = set()
HELD = []
"""

_FILES = r"""
def store(request, data, claim=None):
    with open(request["output"], "wb") as file:
        file.write(data)
    digest = hashlib.sha256(data).hexdigest()
    say("rendered", **report(request, bytes=claim or len(data), sha256=digest))

def sparse(request, size, head=b""):
    with open(request["output"], "wb") as file:
        file.write(head)
        file.truncate(size)
    say("rendered", **report(request, bytes=size))

def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

def png(width, height, image, extra=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", image) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + end

def size_of(request):
    draw(request)
    with open(request["output"], "rb") as file:
        return struct.unpack(">II", file.read(24)[16:24])

def one_byte_png(request):
    width, height = size_of(request)
    store(request, png(width, height, zlib.compress(b"\0")))

def png_bomb(request):
    width, height = size_of(request)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    store(request, png(width, height, data))

def png_with_transparency(request):
    draw(request)
    with open(request["output"], "rb") as file:
        data = file.read()
    store(request, data[:33] + chunk(b"tRNS", bytes(6)) + data[33:])

def many_chunks(request):
    draw(request)  # its own pixels: no verification can tell that others of the right size are wrong
    with open(request["output"], "rb") as file:
        data = file.read()
    store(request, data[:33] + chunk(b"tEXt", b"k\0v") * 200_000 + data[33:])

def tiff_bomb(request):
    entry = struct.pack("<HHII", 273, 4, 250_000, 16)
    data = b"II*\0" + struct.pack("<I", 1_000_016) + bytes(1_000_008)
    store(request, data + struct.pack("<H", 1000) + entry * 1000 + bytes(4))

FILES = [
    lambda r: sparse(r, 4 << 40),
    lambda r: sparse(r, 3 << 30, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    lambda r: store(r, b"P6" + b" " * 60 + b"x"),
    lambda r: store(r, b"P6" + b"#\n" * 2000 + b"1 1 255\n"),
    one_byte_png, png_bomb, png_with_transparency, many_chunks, tiff_bomb,
    lambda r: store(r, b"", claim=1),
    lambda r: say("rendered", **report(r)),
    lambda r: say("rendered", **report(r, bytes=10 ** 17)),
]
"""

_NAMES = r"""
def soon(seconds, act):
    def later():
        time.sleep(seconds)
        try:
            act()
        except OSError:
            pass
    threading.Thread(target=later, daemon=True).start()

def beside(request, make):
    name = request["output"] + ".x"
    try:
        make(name)
    except OSError:
        return
    soon(RNG.uniform(0, 0.05), lambda: os.rename(name, request["output"]))

def swap(make):
    def act(request):
        say("rendered", **draw(request))
        beside(request, make)
    return act

def rewrite(request):
    say("rendered", **draw(request))
    def change():
        with open(request["output"], "r+b") as file:
            file.seek(40)
            file.write(os.urandom(64))
    soon(RNG.uniform(0, 0.05), change)

def litter(request):
    number = RNG.randrange(1 << 30)
    for make, name in ((os.mkfifo, "fifo"), (os.mkdir, "folder")):
        make(os.path.join(os.path.dirname(request["output"]) or ".", "%s%d" % (name, number)))
    say("rendered", **draw(request))

NAMES = [
    swap(lambda name: os.symlink(SECRET, name)),
    swap(lambda name: os.symlink("/etc/passwd", name)),
    swap(lambda name: os.mkfifo(name, 0o666)),
    swap(lambda name: os.mkdir(name)),
    swap(lambda name: os.symlink("/dev/zero", name)),
    rewrite, litter,
    lambda r: (say("rendered", **draw(r)), os.unlink(r["output"])),
]
"""

_MESSAGES = r"""
WORDS = ["", "x", "\ud800", "\x1b[2J", "[red]", "9" * 400, "../../x", "1.1", "\u202e", "storage"]

def any_number():
    return RNG.choice([0, 1, -1, 7, 10 ** 9, 10 ** 400, 0.5, 1e308, 5e-324, True, None])

def any_message(request):
    attempt = RNG.choice([request["attempt"], "9.9", RNG.choice(WORDS)] + HELD[-5:])
    page = RNG.choice([request["index"], 0, any_number()])
    said = [RNG.choice(WORDS) * RNG.choice([1, 100]) for _ in range(RNG.randrange(4))]
    kind = RNG.choice(["storage", "host", "killed", "timeout", "crashed", "memory", RNG.choice(WORDS)])
    return RNG.choice([
        lambda: say("rendered", **report({"attempt": attempt}, diagnostics=said)),
        lambda: say("failed", **report({"attempt": attempt}, diagnostics=said), kind=kind, reason="r"),
        lambda: say("started", attempt=attempt),
        lambda: say("revoked", attempt=attempt),
        lambda: say("suspected", attempt=attempt, page=page, diagnostics=said),
        lambda: say("noted", diagnostics=said),
        lambda: say(
            "heartbeat", others=any_number(), ours=0, free_memory=1, available_slots=any_number()
        ),
        lambda: say("thumbnail", page=page, data=base64.b64encode(os.urandom(99)).decode()),
        lambda: say("inspected", pages=any_number(), diagnostics=said),
    ])

def babble(request):
    for _ in range(RNG.randrange(1, 20)):
        any_message(request)()

def storage_again_and_again(request):
    say("rendered", **draw(request))
    for _ in range(200):
        say("failed", **report(request), kind="storage", reason="no room")

def verbose(request):
    said = ["%d %s" % (n, "x" * 990) for n in range(40)]
    say("rendered", **{**draw(request), "diagnostics": said})

def keep(request):
    say("started", attempt=request["attempt"])
    for _ in range(3):
        say("heartbeat", others=0.0, ours=0.0, free_memory=1, available_slots=0)
        time.sleep(0.3)

def many_beats(request):
    for _ in range(300):
        say("heartbeat", others=0.0, ours=0.0, free_memory=1, available_slots=RNG.randrange(3))
    say("rendered", **draw(request))

MESSAGES = [
    storage_again_and_again, verbose, keep, many_beats, lambda r: None,
    lambda r: say("failed", **report(r), kind="storage", reason="no room"),
    lambda r: [say("rendered", **draw(r)) for _ in "12"],
]

RUDE = MESSAGES + [
    babble, babble, babble, lambda r: hello(), lambda r: say("bye"),
    lambda r: say("trouble", reason="\ud800"),
    lambda r: raw(b"noise\n" * 50_000), lambda r: line("[" * 50_000), lambda r: sys.exit(3),
]

HELLOS = [{}] * 16 + [
    {"canary": "f" * 64}, {"canary": "f" * 64, "ghostscript": "10.99.0"},
    {"missing": ["x"], "missing_recipes": [1, 0]}, {"missing_recipes": [-1]},
    {"cores": 10 ** 9, "slots": 10 ** 9}, {"ghostscript": "9" * 5000}, {"hostname": "\ud800\x1b[2J"},
    {"fonts": {"digest": "x", "groups": {"a" * 900: 1e300}}}, {"clock": 1e17, "others": 1e17},
]
"""

_LIFE = r"""
def live():
    global RNG
    for request in asked("prepare"):
        RNG = random.Random("%s %s %d" % (SEED, TOLD["folder"], count_up()))
        hello(**RNG.choice(HELLOS))
        break
    # What no runner says ends the host's part in a run, so that most connections do not say it.
    messages = RNG.choice([MESSAGES, MESSAGES, MESSAGES, RUDE])
    threading.Thread(target=beat, daemon=True).start()
    for request in asked("render"):
        HELD.append(request["attempt"])
        deeds = RNG.choice([None, FILES, NAMES, messages])
        started(request)
        try:
            if deeds is None:
                say("rendered", **draw(request))
            else:
                RNG.choice(deeds)(request)
        except (OSError, struct.error, subprocess.CalledProcessError):
            say("failed", **report(request), kind="crashed", reason="could not attack")

live()
"""


def attack_at_random(host: Host, seed: int, secret: str) -> None:
    """From now on this host attacks. ``secret``: a path that only the coordinator may read."""
    setting = _SETTING.replace("@SEED@", str(seed)).replace("@SECRET@", repr(secret))
    turn(host, setting + _FILES + _NAMES + _MESSAGES + _LIFE)
