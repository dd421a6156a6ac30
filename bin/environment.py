"""The environment in which the scripts of this folder run.

A script calls `ensure()` first. An active environment that has the package is used as
it is; otherwise the checkout's own, `.venv`, is made once from `constraints.txt`, and
the script starts again in it. Standard library alone, in syntax that Python 3.6 can
parse, because this runs before anything is known to be there.

States of `.venv`: without a stamp it is unfinished and made anew from nothing; with a
stamp of other inputs pip brings it up to date; with the current stamp it is used.
"""

import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "gtn_tf.stamp"
LOCK = CHECKOUT / ".venv.lock"

OLDEST = (3, 10)
NEWEST = (3, 13)  # that the TensorFlow of constraints.txt is built for
REQUIRED = ("gtn_tf", "tensorflow")
INSTALL = ["--constraint", "constraints.txt", "--editable", ".[test,docs]"]
OR_ACTIVATE = "or activate an environment that has gtn_tf and tensorflow"


def ensure(*modules: str) -> None:
    """Returns in an environment that has gtn_tf, TensorFlow and `modules`.

    Where the running one lacks them, sets `.venv` up if need be and starts the running
    command again in it. Exits with code 2 and one line on stderr where that fails.
    """
    if sys.version_info < OLDEST:
        fail(
            "Python >= {}.{} needed, this is {}.{}.{}; run this with a newer one, "
            "e.g. python3.12 {}".format(*OLDEST, *sys.version_info[:3], sys.argv[0])
        )
    complete = all(is_installed(name) for name in REQUIRED + modules)
    if complete and (not is_inside() or is_current()):
        return
    if is_inside() and is_current():
        fail(f"packages are missing from {VENV}; delete it and run this again")
    try:
        if not is_current():
            set_up()
        # The same command line, interpreter flags included.
        os.execv(str(PYTHON), [str(PYTHON)] + sys.orig_argv[1:])
    except KeyboardInterrupt:
        fail("set-up interrupted; run this again to continue", code=130)
    except OSError as error:
        fail(f"cannot make {VENV}: {error}; make that possible {OR_ACTIVATE}")


def is_inside() -> bool:
    """Whether this interpreter is that of `.venv`."""
    return os.path.realpath(sys.prefix) == os.path.realpath(str(VENV))


def is_installed(name: str) -> bool:
    """Whether `import name` finds a package; importing TensorFlow takes seconds."""
    spec = importlib.util.find_spec(name)
    # A folder of that name without __init__.py gives a spec too, without an origin.
    return spec is not None and spec.origin is not None


def fingerprint() -> str:
    """What `.venv` is made from; an editable install depends on its place, too."""
    digest = hashlib.sha256(os.fsencode(str(CHECKOUT)))
    for name in ("setup.cfg", "constraints.txt"):
        digest.update(b"\0" + (CHECKOUT / name).read_bytes())
    return digest.hexdigest()


def is_finished() -> bool:
    """Whether a set-up came to its end and its base interpreter is still there."""
    return STAMP.is_file() and os.access(str(PYTHON), os.X_OK)


def is_current() -> bool:
    """Whether `.venv` can be used as it is."""
    return is_finished() and STAMP.read_text() == fingerprint()


def set_up() -> None:
    """Makes `.venv` or brings it up to date; one process at a time."""
    check_interpreter()
    with LOCK.open("w") as lock:
        acquire(lock)
        if is_current():  # made while this process waited
            return
        wanted = fingerprint()
        if is_finished():
            say(f"setup.cfg or constraints.txt has changed, updating {VENV}")
        else:
            say(f"setting up {VENV}, once: this takes minutes and 4 GB of disk")
            # By the link's target: Python 3.10 would make a link that leads to itself.
            python = os.path.realpath(sys.executable) if is_inside() else sys.executable
            venv = [python, "-I", "-m", "venv", "--clear", str(VENV)]
            if run(venv, lock) != 0:
                fail(f"cannot make {VENV} (see above); mend that {OR_ACTIVATE}")
        if STAMP.exists():
            STAMP.unlink()
        # -I: neither PYTHONPATH nor the user's site may pass for an installed package.
        pip = [str(PYTHON), "-I", "-m", "pip", "install", "-qq"]
        if run(pip + INSTALL, lock) != 0:
            fail(
                f"pip could not install into {VENV} (see above); it needs 4 GB of disk "
                "and a package index, on the network or in pip's configuration: "
                f"provide them and run this again, {OR_ACTIVATE}"
            )
        STAMP.write_text(wanted)
        say("set-up finished")


def check_interpreter() -> None:
    """Refuses in one line what venv or pip would refuse later in many."""
    if sys.version_info[:2] > NEWEST:
        fail(
            "TensorFlow needs Python {}.{} to {}.{}, this is {}.{}; run this with one "
            "of them, e.g. python{}.{} {}, ".format(
                *OLDEST, *NEWEST, *sys.version_info[:2], *NEWEST, sys.argv[0]
            )
            + OR_ACTIVATE
        )
    for name in ("venv", "ensurepip"):
        if importlib.util.find_spec(name) is None:
            fail(
                f"{sys.executable} has no module {name}, which making {VENV} needs; "
                f"install it (on Debian and Ubuntu python3-venv) {OR_ACTIVATE}"
            )


def acquire(lock) -> None:
    """Waits until no other process, or child of one that was killed, holds `lock`."""
    import fcntl  # POSIX only; the checks before this are for everybody

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another process that is setting up {VENV}")
        fcntl.flock(lock, fcntl.LOCK_EX)


def run(command: list, lock) -> int:
    """Runs `command` in the checkout, output on stderr; returns its exit code.

    The child shares `lock`: where this process is killed, the next one waits until the
    child has stopped writing.
    """
    return subprocess.call(
        command,
        cwd=str(CHECKOUT),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=[lock.fileno()],
    )


def say(message: str) -> None:
    """One line on stderr, with the package's name."""
    print(f"gtn_tf: {message}", file=sys.stderr, flush=True)


def fail(message: str, code: int = 2) -> None:
    """Ends the process with that line and code."""
    say(message)
    sys.exit(code)
