"""The process of one run of an ablation: it ends when whoever started it does, however that died."""

import signal
import sys
import threading

from graph.cli import main
from training.stages import die_with_parent

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores, and all it starts
    threading.Thread(target=die_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
