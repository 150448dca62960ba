"""A worker's process: tasks on standard input, a line each; answers on standard output.

Standard input is also the parent's sign of life: when it ends, so does this process, at once and
in the middle of a run, for nobody waits for the result.
"""

import json
import os
import sys
from queue import SimpleQueue
from threading import Thread

from p2pfl.comparison.sweep_cell import answer_task


def main() -> None:
    """Answer tasks until standard input ends."""
    # What the user's own model prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tasks: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(line)
        os._exit(0)

    def say(line: str) -> None:
        answers.write(f"{line}\n")
        answers.flush()

    Thread(target=listen, name="sweep stdin", daemon=True).start()
    while True:
        say(answer_task(tasks.get(), lambda share: say(json.dumps({"share": share}))))


if __name__ == "__main__":
    main()
