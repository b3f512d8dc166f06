"""Run the experiments of the VIMAE paper; the docstring of ``vimae_paper`` says how."""

import sys

from vimae_paper.command import main

if __name__ == "__main__":
    sys.exit(main())
