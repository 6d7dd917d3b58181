"""Writes random files, reads them with the program in its formats, and compares every value with
what pyarrow, DuckDB, polars and astropy read, or with what the maker of the file has written.

usage: python differential PROGRAM SEED COUNT [--formats N|all] [--keep FOLDER] [--kind KIND] [--from NUMBER]

The file of a seed and a number is the same in every run. Each problem prints seed, number, column, row
and both values, and the file is kept (below --keep). Ends with 1 if a value differs and no rule of
`rules.py` allows it, or if a file is refused for no reason that stands there.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings

import make_arrow
import make_fits
import make_hive
import make_parquet
import make_text
import ours
from runs import Run

# As many runs of the program at a time as the machine of CI has cores.
RUNS_AT_A_TIME = 2
# Formats of one file, of thirteen; the others have their turn with other files.
FORMATS_OF_A_FILE = 5
# Kinds of files, and their shares.
MAKERS = {
    "parquet": (make_parquet.MAKERS, 4),
    "arrow": (make_arrow.MAKERS, 2),
    "fits": (make_fits.MAKERS, 2),
    "text": (make_text.MAKERS, 3),
    "hive": (make_hive.MAKERS, 1),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("seed")
    parser.add_argument("count", type=int)
    parser.add_argument("--formats", default=str(FORMATS_OF_A_FILE))
    parser.add_argument("--keep", default=None)
    parser.add_argument("--kind", choices=MAKERS)
    parser.add_argument("--without", choices=MAKERS, action="append", default=[])
    parser.add_argument("--from", dest="start", type=int, default=0)
    options = parser.parse_args()
    # Their warnings are of other things than values.
    warnings.simplefilter("ignore")
    begun = time.monotonic()
    run = Run(options.program)
    with tempfile.TemporaryDirectory(prefix="differential-") as scratch, ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        for number in range(options.start, options.start + options.count):
            one_file(run, pool, options, pathlib.Path(scratch) / f"{options.seed}-{number}", number)
    run.report(time.monotonic() - begun)
    sys.exit(1 if run.problems or not run.values else 0)


def one_file(run, pool, options, folder, number):
    chance = random.Random(f"{options.seed}/{number}")
    kinds = [kind for kind in MAKERS if kind not in options.without]
    kind = options.kind or chance.choices(kinds, [MAKERS[kind][1] for kind in kinds])[0]
    makers, shares = zip(*MAKERS[kind][0])
    maker = chance.choices(makers, shares)[0]
    what = f"seed {options.seed} number {number} {kind}/{maker.__name__}"
    seen = len(run.problems)
    folder.mkdir()
    try:
        case = maker(chance, folder)
    except Exception:
        # What cannot be made proves nothing, and must be seen.
        run.differences[f"{maker.__name__}: cannot be made"] += 1
        run.problems.append(f"{what}: the file cannot be made\n{traceback.format_exc()}")
    else:
        run.files[f"{kind}/{maker.__name__}"] += 1
        in_formats(run, pool, chance, what, case, formats(chance, options))
    if len(run.problems) > seen:
        print("\n".join(run.problems[seen:]))
        if options.keep:
            kept = pathlib.Path(options.keep) / f"{kind}-{folder.name}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
            print(f"  kept: {kept}")
        sys.stdout.flush()
    shutil.rmtree(folder)


def formats(chance, options):
    if options.formats == "all":
        return list(ours.FORMATS)
    return chance.sample(ours.FORMATS, int(options.formats))


def in_formats(run, pool, chance, what, case, forms):
    if case.check:
        # The program chooses the types: its Arrow tells them, and the other formats must agree.
        case.truth = run.form(what, case, "arrow")
        forms = [form for form in forms if form != "arrow"]
        if case.truth is None:
            return
    for form, answer in zip(forms, pool.map(lambda form: run.ask(case, form), forms)):
        run.form(what, case, form, answer)
    run.equality(what, case, chance)


if __name__ == "__main__":
    main()
