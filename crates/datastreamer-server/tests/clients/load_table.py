"""Reads a whole VOTable from URL with READER (astropy or pyvo). Any exception, and for pyvo any
status but OK, is a failure."""

import sys
import warnings

reader, url = sys.argv[1:]
# They warn of what has nothing to do with the transfer.
warnings.simplefilter("ignore")
if reader == "astropy":
    from astropy.io.votable import parse_single_table

    rows = len(parse_single_table(url).to_table())
else:
    from pyvo.dal import DALResults

    rows = len(DALResults.from_result_url(url).to_table())
print(rows)
