"""``python -m sshrender`` and the console script."""

# Hardly anything is imported here: until main() runs, Ctrl-C ends the program with a traceback.
import os

_INTERRUPTED = 130
"""128 + SIGINT. The module ``signal`` takes a while to load."""


def main() -> None:
    """Run a command; every end has an exit code and no end has a traceback.

    Everything is closed by then. Threads may still wait for a dead host or a hanging SAN. They must not
    keep the interpreter from ending, and tidying it up would only cost time.
    """
    code = 1
    try:
        code = _run()
    except KeyboardInterrupt:  # while modules were being loaded, so nothing has begun
        code = _INTERRUPTED
    finally:
        os._exit(code)


def _run() -> int:
    from sshrender.process import signalexceptions, threadfailure

    try:
        from sshrender import program

        return program.main()
    except BaseException as error:  # noqa: BLE001 - a limit leaves no room even to load or to report
        number = signalexceptions.signal_of(error)  # one after another, before they are ignored
        return threadfailure.say_what_is_left(error) if number is None else 128 + number


if __name__ == "__main__":
    main()
