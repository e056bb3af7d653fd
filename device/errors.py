"""Errors of the device, with the blame in the type: who has to change something for it not to happen again."""


class PeerError(Exception):
    """The VMM or the guest gave nonsense: refuse it, count it, go on."""


class CallerError(Exception):
    """This program used an interface wrongly: a bug of ours."""


class OperatorError(Exception):
    """The daemon can't do what it was started for: one line naming the option and the remedy, and an exit code."""

    def __init__(self, option: str, problem: str, exit_code: int) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.exit_code = exit_code
