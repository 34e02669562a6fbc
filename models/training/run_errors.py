"""How a training run ends before its time. Knows no stage and no family."""


class RunError(Exception):
    """The run can't go on; the message is one sentence for the admin. Live models are untouched."""


class RunCancelledError(Exception):
    """Somebody asked the run to stop."""


class UnheardError(Exception):
    """Whoever started the run is gone. What it has made so far stays, to be resumed."""


class NothingToLearnError(Exception):
    """This family can't be trained on what there is, or not on this machine; the message is one sentence."""
