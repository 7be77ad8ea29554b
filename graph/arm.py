"""The process of one run of an ablation: it ends when whoever started it does, however that died."""

import sys
import threading

from graph.cli import main
from training.stages import die_with_parent

if __name__ == "__main__":
    threading.Thread(target=die_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
