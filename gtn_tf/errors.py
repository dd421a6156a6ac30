"""What is raised where something other than this library is at fault."""


class UserError(ValueError):
    """What a user gave cannot be used: says what came, what is allowed, what to do.

    The commands print it as one line and exit with 2.
    """


class Diverged(ArithmeticError):
    """Training has come to numbers that are not finite; the commands exit with 1."""


class WorkerLost(ConnectionError):
    """Another process of a training has ended; the commands exit with 1."""
