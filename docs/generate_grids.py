"""Write docs/reference/grids.md: what each target stores of the numeric grids.

`python docs/generate_grids.py [FILE]`.
"""

import sys
from pathlib import Path

from edgekit_converters.grids.natives import page

if __name__ == "__main__":
    here = Path(__file__).parent
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "reference" / "grids.md"
    target.write_text(page())
