"""The program that the Flex template's launcher starts."""

import sys

from beam_pipeline.template.launch import main

if __name__ == "__main__":
    sys.exit(main())
