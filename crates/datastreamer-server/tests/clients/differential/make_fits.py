"""FITS binary tables by astropy and numpy: every TFORM, TNULL, TSCAL, TZERO, TDIM, the heap.

What is stored is known here. What it means is computed by the standard (FITS 4.0, 7.3), and
compared with what astropy makes of it where astropy keeps to the standard.
"""

import warnings

import numpy as np

import kinds
import values
from case import Case
from kinds import Kind

INTEGERS = {"B": ("u1", 8, False), "I": (">i2", 16, True), "J": (">i4", 32, True), "K": (">i8", 64, True)}
FLOATS = {"E": (">f4", "<f"), "D": (">f8", "<d")}
UNSIGNED_ZERO = {"B": -128, "I": 2**15, "J": 2**31, "K": 2**63}


def shaped(flat, rows, repeat):
    return [flat[row * repeat : (row + 1) * repeat] for row in range(rows)]




class Table:
    """Columns as they are stored, and what they mean."""

    def __init__(self, random, rows):
        self.random, self.rows, self.cards, self.stored, self.truth, self.heap = random, rows, [], [], [], b""

    def add(self, form, dtype, data, kind, meant, **cards):
        place = len(self.stored) + 1
        name = f"c{place}"
        self.cards.append((place, {"TTYPE": name, "TFORM": form, **cards}))
        self.stored.append((name, dtype, data))
        self.truth.append(kinds.Column(name, kind, meant))

    def repeat(self):
        """1 most often; the axes if there are several."""
        return self.random.choice([(1, None), (1, None), (1, None), (3, None), (6, "(3,2)"), (6, "(2,3)"), (4, "(9,9)")])

    def numbers(self, flat_of, form, dtype, kind, mean, **cards):
        repeat, axes = self.repeat()
        flat = flat_of(self.rows * repeat)
        meant = [mean(value) for value in flat]
        data = np.array(flat, dtype).reshape(self.rows, repeat) if repeat > 1 else np.array(flat, dtype)
        if repeat > 1:
            kind, meant = Kind("list", inner=(kind,)), shaped(meant, self.rows, repeat)
        if axes:
            cards["TDIM"] = axes
        self.add(f"{repeat if repeat > 1 or self.random.random() < 0.5 else ''}{form}", (dtype, (repeat,)) if repeat > 1 else (dtype,), data, kind, meant, **cards)

    def integer(self):
        random = self.random
        form = random.choice("BIJK")
        dtype, bits, signed = INTEGERS[form]
        flat_of = lambda count: [0 if value is None else value for value in values.integers(random, count, bits, signed)]
        how = random.choice(["plain", "plain", "unsigned", "null", "null", "scaled", "scaled null", "zero only"])
        cards, kind, mean = {}, Kind("int"), lambda value: value
        if how == "unsigned":
            cards["TZERO"] = UNSIGNED_ZERO[form]
            mean = lambda value: value + UNSIGNED_ZERO[form]
        if how == "scaled" or how == "scaled null":
            cards["TSCAL"], cards["TZERO"] = random.choice([(0.5, 10.0), (2.0, 0.0), (-1.0, 0.25), (0.1, 32768.0)])
            kind, mean = Kind("float64"), lambda value: float(np.float64(value) * cards["TSCAL"] + cards["TZERO"])
        if how == "zero only":
            cards["TZERO"] = random.choice([1000, 0.5])
            kind, mean = Kind("float64"), lambda value: float(np.float64(value) + cards["TZERO"])
            if form == "K" and cards["TZERO"] == 1000:
                # Exact as in STILTS. What does not fit 64 bits is refused: there is none.
                kind, mean, unbounded = Kind("int"), lambda value: value + 1000, flat_of
                flat_of = lambda count: [min(value, 2**63 - 1001) for value in unbounded(count)]
        if "null" in how:
            null = random.choice([0, 1, 127] + ([-1, -(2 ** (bits - 1))] if signed else [255]))
            cards["TNULL"] = null
            meant = mean
            mean = lambda value: None if value == null else meant(value)
        self.numbers(flat_of, form, dtype, kind, mean, **cards)

    def float(self):
        random = self.random
        form = random.choice("ED")
        dtype, code = FLOATS[form]
        flat_of = lambda count: [0.0 if value is None else value for value in values.floats(random, count, code)]
        how = random.choice(["plain", "plain", "plain", "null", "scaled"])
        cards, kind, mean = {}, Kind("float32" if form == "E" else "float64"), lambda value: value
        if how == "null":
            # The standard has TNULL of integers only: it says nothing here.
            cards["TNULL"] = random.choice([0, 1, -99])
        if how == "scaled":
            cards["TSCAL"], cards["TZERO"] = random.choice([(0.5, 10.0), (2.0, 0.0)])
            kind, mean = Kind("float64"), lambda value: float(np.float64(value) * cards["TSCAL"] + cards["TZERO"])
        self.numbers(flat_of, form, dtype, kind, mean, **cards)

    def complex(self):
        form, dtype, kind, code = self.random.choice([("C", ">f4", "float32", "<f"), ("M", ">f8", "float64", "<d")])
        flat = [0.0 if value is None else value for value in values.floats(self.random, 2 * self.rows, code)]
        self.add(f"1{form}", (dtype, (2,)), np.array(flat, dtype).reshape(self.rows, 2), Kind("list", inner=(Kind(kind),)), shaped(flat, self.rows, 2))

    def logical(self):
        repeat = self.random.choice([1, 1, 3])
        bytes_of = {True: ord("T"), False: ord("F"), None: 0}
        flat = [self.random.choice([True, False, None]) for _ in range(self.rows * repeat)]
        data = np.array([bytes_of[value] for value in flat], "u1")
        if repeat == 1:
            self.add("L", ("u1",), data, Kind("bool"), flat)
        else:
            self.add(f"{repeat}L", ("u1", (repeat,)), data.reshape(self.rows, repeat), Kind("list", inner=(Kind("bool"),)), shaped(flat, self.rows, repeat))

    def bits(self):
        count = self.random.choice([3, 8, 11])
        width = (count + 7) // 8
        rows = [[self.random.random() < 0.5 for _ in range(count)] for _ in range(self.rows)]
        data = np.array([np.packbits(row) for row in rows], "u1").reshape(self.rows, width)
        self.add(f"{count}X", ("u1", (width,)), data, Kind("list", inner=(Kind("bool"),)), rows)

    def text(self):
        width = self.random.choice([1, 5, 20, 80])
        texts = [self.random.choice(values.ASCII + [None])for _ in range(self.rows)]
        texts = [None if text is None else text[:width] for text in texts]
        pad = self.random.choice([b" ", b"\0"])
        data = np.array([(text or "").encode() if not text else text.encode().ljust(width, pad) for text in texts], f"S{width}")
        if pad == b" ":
            data = np.array([b"".ljust(width, b" ") if text == "" else one for text, one in zip(texts, data)], f"S{width}")
        else:
            texts = [text or None for text in texts]
        self.add(f"{width}A", (f"S{width}",), data, Kind("text"), [None if text is None else text.rstrip(" ") for text in texts])

    def variable(self):
        random = self.random
        form, dtype = random.choice([("B", "u1"), ("I", ">i2"), ("J", ">i4"), ("K", ">i8"), ("E", ">f4"), ("D", ">f8"), ("A", "S1"), ("L", "u1")])
        descriptor, wide = random.choice([("P", ">i4"), ("Q", ">i8")])
        lengths = [random.choice([0, 1, 2, 5]) for _ in range(self.rows)]
        places, meant = [], []
        for length in lengths:
            if form == "A":
                text = "".join(random.choice("abc xyz") for _ in range(length)).rstrip(" ")
                length, data, one = len(text), text.encode(), text
            elif form == "L":
                one = [random.choice([True, False, None]) for _ in range(length)]
                data = bytes({True: 84, False: 70, None: 0}[value] for value in one)
            elif form in FLOATS:
                one = [0.0 if value is None else value for value in values.floats(random, length, FLOATS[form][1])]
                data = np.array(one, dtype).tobytes()
            else:
                _, bits, signed = INTEGERS[form]
                one = [0 if value is None else value for value in values.integers(random, length, bits, signed)]
                data = np.array(one, dtype).tobytes()
            places.append((length, len(self.heap)))
            self.heap += data
            meant.append(one)
        kind = {"A": Kind("text"), "L": Kind("list", inner=(Kind("bool"),)), "E": Kind("list", inner=(Kind("float32"),)), "D": Kind("list", inner=(Kind("float64"),))}.get(form, Kind("list", inner=(Kind("int"),)))
        longest = max((length for length, _ in places), default=0)
        self.add(f"1{descriptor}{form}({longest})", (wide, (2,)), np.array(places, wide).reshape(self.rows, 2), kind, meant)

    def texts(self):
        """Arrays of texts: rA with TDIM."""
        width, count = self.random.choice([(3, 2), (1, 4), (8, 2)])
        rows = [[self.random.choice(values.ASCII)[:width].rstrip(" ") for _ in range(count)] for _ in range(self.rows)]
        data = np.array(["".join(text.ljust(width) for text in row).encode() for row in rows], f"S{width * count}")
        self.add(f"{width * count}A", (f"S{width * count}",), data, Kind("list", inner=(Kind("text"),)), rows, TDIM=f"({width},{count})")

    def dtype(self):
        return np.dtype([(name, *dtype) for name, dtype, _ in self.stored])

    def bytes(self):
        rows = np.zeros(self.rows, self.dtype())
        for name, _, data in self.stored:
            rows[name] = data
        return rows.tobytes()


def padded(data, pad=b"\0"):
    return data + pad * (-len(data) % 2880)


def card(name, value):
    if isinstance(value, str):
        text = f"'{value:<8}'"
    elif isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    else:
        text = f"{value!r:>20}"
    return f"{name:<8}= {text}".ljust(80)


def header(cards):
    text = "".join(cards) + "END".ljust(80)
    return padded(text.encode(), b" ")


def by_hand(random, folder):
    """Every way to store a value, written byte by byte."""
    rows = random.choice([1, 2, 5, 20, 20, 0, 300])
    table = Table(random, rows)
    for _ in range(random.randint(1, 6)):
        getattr(table, random.choice(["integer", "integer", "float", "float", "complex", "logical", "bits", "text", "text", "variable", "texts"]))()
    data = table.bytes()
    gap = random.choice([0, 0, 16]) if table.heap else 0
    cards = [card("XTENSION", "BINTABLE"), card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", table.dtype().itemsize), card("NAXIS2", rows)]
    cards += [card("PCOUNT", gap + len(table.heap)), card("GCOUNT", 1), card("TFIELDS", len(table.stored))]
    if gap:
        cards.append(card("THEAP", len(data) + gap))
    cards += [card(f"{key}{place}", value) for place, of_column in table.cards for key, value in of_column.items()]
    path = folder / "table.fits"
    path.write_bytes(header([card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True)]) + header(cards) + padded(data + bytes(gap) + table.heap))
    return Case([path], table.truth, "; ".join(str(of_column) for _, of_column in table.cards))


def by_astropy(random, folder):
    """astropy's own writer, and what it reads back: its view of null, unsigned and scaled."""
    from astropy.io import fits

    rows = random.choice([1, 3, 20])
    columns, truth = [], []
    for place in range(random.randint(1, 5)):
        name = f"c{place}"
        form = random.choice(["L", "I", "J", "K", "E", "D", "12A", "3J", "2D", "PJ()", "QD()", "uint16", "uint32", "uint64", "int8"])
        one = lambda bits, signed, count: [0 if value is None else value for value in values.integers(random, count, bits, signed)]
        if form == "L":
            meant = [random.random() < 0.5 for _ in range(rows)]
            columns.append(fits.Column(name, "L", array=np.array(meant)))
            kind = Kind("bool")
        elif form in ("uint16", "uint32", "uint64"):
            bits = int(form[4:])
            meant = one(bits, False, rows)
            columns.append(fits.Column(name, {16: "I", 32: "J", 64: "K"}[bits], bzero=2 ** (bits - 1), array=np.array(meant, form)))
            kind = Kind("int")
        elif form == "int8":
            meant = one(8, True, rows)
            columns.append(fits.Column(name, "B", bzero=-128, array=np.array(meant, "i1")))
            kind = Kind("int")
        elif form in ("I", "J", "K"):
            bits = {"I": 16, "J": 32, "K": 64}[form]
            meant = one(bits, True, rows)
            null = random.choice([None, meant[0]])
            columns.append(fits.Column(name, form, null=null, array=np.array(meant, f"i{bits // 8}")))
            meant = [None if value == null else value for value in meant]
            kind = Kind("int")
        elif form in ("E", "D"):
            meant = [0.0 if value is None else value for value in values.floats(random, rows, "<f" if form == "E" else "<d")]
            columns.append(fits.Column(name, form, array=np.array(meant, "f4" if form == "E" else "f8")))
            kind = Kind("float32" if form == "E" else "float64")
        elif form == "12A":
            meant = [random.choice(values.ASCII)[:12] for _ in range(rows)]
            columns.append(fits.Column(name, form, array=np.array(meant)))
            # astropy writes an empty text as NUL bytes, as a null.
            meant = [text or None for text in meant]
            kind = Kind("text")
        elif form in ("3J", "2D"):
            size = int(form[0])
            meant = shaped(one(32, True, rows * size), rows, size) if form == "3J" else shaped([float(value) for value in one(32, True, rows * size)], rows, size)
            columns.append(fits.Column(name, form, array=np.array(meant, "i4" if form == "3J" else "f8")))
            kind = Kind("list", inner=(Kind("int" if form == "3J" else "float64"),))
        else:
            code = "int" if form == "PJ()" else "float64"
            meant = [one(32, True, random.randint(0, 4)) for _ in range(rows)]
            meant = meant if code == "int" else [[float(value) for value in row] for row in meant]
            array = np.empty(rows, object)
            array[:] = [np.array(row, "i4" if code == "int" else "f8") for row in meant]
            columns.append(fits.Column(name, form, array=array))
            kind = Kind("list", inner=(Kind(code),))
        truth.append(kinds.Column(name, kind, meant))
    path = folder / "table.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = fits.BinTableHDU.from_columns(columns, name="T")
        fits.HDUList([fits.PrimaryHDU(np.arange(10.0)), fits.ImageHDU(np.zeros((3, 5), "i2")), table]).writeto(path, checksum=random.random() < 0.3)
    return Case([path], truth, ", ".join(column.format for column in columns))


def ascii_table(random, folder):
    """An ASCII table, written field by field: blanks, implied exponents of D, nulls."""
    rows = random.choice([0, 1, 3, 20])
    fields, truth, cards, begin = [], [], [], 1
    for place in range(1, random.randint(1, 5) + 1):
        form = random.choice(["A", "I", "F", "E", "D"])
        null = None
        if form == "A":
            width = random.choice([1, 6, 12])
            meant = [random.choice(values.ASCII)[:width].rstrip(" ") for _ in range(rows)]
            texts, kind, shape = [text.ljust(width) for text in meant], Kind("text"), f"A{width}"
        elif form == "I":
            width = random.choice([3, 6, 11, 19])
            top = min(10 ** (width - 1) - 1, 2**63 - 1)
            numbers = [random.choice([0, 1, -1, top, random.randint(-(top // 10), top)]) for _ in range(rows)]
            null = random.choice([None, "***", "-1"])
            texts = [str(number).rjust(width) for number in numbers]
            if null == "***":
                texts = [null.ljust(width) if random.random() < 0.3 else text for text in texts]
            meant = [None if null is not None and text.strip() == null else int(text) for text in texts]
            kind, shape = Kind("int"), f"I{width}"
        else:
            width, digits = random.choice([(12, 4), (24, 15)])
            numbers = [random.choice([0.0, 1.5, -2.25, random.uniform(-1000, 1000)]) for _ in range(rows)]
            write = {"F": lambda number: f"{number:.{digits}f}", "E": lambda number: f"{number:.{min(digits, width - 8)}E}", "D": lambda number: f"{number:.{min(digits, width - 8)}E}".replace("E", "D")}[form]
            texts = [write(number).rjust(width)[:width] for number in numbers]
            texts = [" " * width if random.random() < 0.1 else text for text in texts]
            meant = [None if not text.strip() else float(text.replace("D", "E")) for text in texts]
            kind, shape = Kind("float64"), f"{form}{width}.{digits}"
        fields.append(texts)
        name = f"c{place}"
        cards += [card(f"TTYPE{place}", name), card(f"TFORM{place}", shape), card(f"TBCOL{place}", begin)]
        if null is not None:
            cards.append(card(f"TNULL{place}", null))
        truth.append(kinds.Column(name, kind, meant))
        begin += width + random.choice([0, 1])
    width = begin
    lines = [bytearray(b" " * width) for _ in range(rows)]
    for texts, one in zip(fields, range(len(fields))):
        at = int(cards_value(cards, f"TBCOL{one + 1}")) - 1
        for line, text in zip(lines, texts):
            line[at : at + len(text)] = text.encode()
    head = [card("XTENSION", "TABLE"), card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", width), card("NAXIS2", rows), card("PCOUNT", 0), card("GCOUNT", 1), card("TFIELDS", len(fields))]
    path = folder / "table.fits"
    path.write_bytes(header([card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True)]) + header(head + cards) + padded(b"".join(lines), b" "))
    return Case([path], truth, f"{[one for one in cards if one.startswith('TFORM')]}")


def cards_value(cards, name):
    return next(one[10:].strip() for one in cards if one.startswith(name.ljust(8)))


MAKERS = [(by_hand, 4), (by_astropy, 1), (ascii_table, 1)]
