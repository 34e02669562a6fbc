"""What can go wrong in the store, each error named by what its reader can do. Knows no SQL and no driver.

No message holds what a member typed, for messages stand in the log.

Two families. A `StoreFaultError` is about the file or the disk and is for the operator: its message is one sentence
that names the place and the remedy. Every other error is about a story, a turn or a job and is turned into words for a
member by whoever asked.
"""

from pathlib import Path


class StoreError(Exception):
    """Every failure that a caller of the store can meet."""


class StoreFaultError(StoreError):
    """The database can't be used as asked. Nothing that was committed is lost; an operator must act."""


class StoreKeyError(StoreFaultError):
    """The key is missing, malformed, or doesn't open this file (or the file is no database at all). Nothing was
    touched: put the right key back, or name another database."""


class StoreTooNewError(StoreFaultError):
    """A newer Inkwell wrote this database. Nothing was touched: update Inkwell, or name another database."""

    def __init__(self, path: Path, found: str, known: str) -> None:
        super().__init__(
            f"{path} was written by a newer Inkwell: it has schema {found}, and this version knows up to {known}. "
            "Update Inkwell, or restore the copy that was made before the upgrade."
        )
        self.path, self.found, self.known = path, found, known


class StoreForeignError(StoreFaultError):
    """The key opens the file, but another program made it. Nothing was touched: name another database."""


class StoreMigrationError(StoreFaultError):
    """The upgrade of the schema failed and was rolled back: the database is as it was before."""


class StoreInUseError(StoreFaultError):
    """Another Inkwell holds this database. Stop it first. `pid` is None when it couldn't be read."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{path} is in use by another Inkwell ({holder}): stop that one first.")
        self.path, self.pid = path, pid


class StoreReadOnlyError(StoreFaultError):
    """The file or its directory may not be written. Change the permissions, or name another place."""


class StoreFullError(StoreFaultError):
    """The disk is full. The write that met it was rolled back whole; free space and ask again."""


class StoreBusyError(StoreFaultError):
    """Another program (a backup, a database shell) held the write lock too long. Asking again may work."""


class StoreDiskError(StoreFaultError):
    """The disk refused to read or write for another reason than space or permissions."""


class StoreDamagedError(StoreFaultError):
    """Pages of the file are damaged. Restore a backup; what was damaged can't be read with any key."""


class StoreClosedError(StoreError):
    """Inkwell is shutting down. What was committed is safe."""


class NotFoundError(StoreError):
    """No such row: it never existed or was erased. The buttons of its message are stale."""


class StoryNotFoundError(NotFoundError):
    """No story has this id."""

    def __init__(self, story_id: str) -> None:
        super().__init__(f"there is no story {story_id!r}")


class TurnNotFoundError(NotFoundError):
    """No turn has this id."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"there is no turn {turn_id!r}")


class TaughtTextNotFoundError(NotFoundError):
    """This server's voice was taught no text with this id, or it is being forgotten already."""

    def __init__(self, text_id: str) -> None:
        super().__init__(f"there is no taught text {text_id!r}")


class TaughtTooMuchError(StoreError):
    """The server's voice holds as much as it may. Forget a text first."""

    def __init__(self, texts: int, characters: int) -> None:
        super().__init__(f"{texts} texts of {characters} characters are taught already")
        self.texts, self.characters = texts, characters


class ReceiptNotFoundError(NotFoundError):
    """No picture has this receipt, or its owner made us forget it."""

    def __init__(self, code: str) -> None:
        super().__init__("there is no such receipt")
        self.code = code


class CharacterNotFoundError(NotFoundError):
    """The story has no face under this name."""

    def __init__(self, name: str) -> None:
        super().__init__("the story has no face under this name")
        self.name = name


class FaceTakenError(StoreError):
    """Somebody else gave this character its face: they, the story's author and moderators may change it."""

    def __init__(self, name: str) -> None:
        super().__init__("this character has a face from somebody else")
        self.name = name


class ReceiptNotYoursError(StoreError):
    """Somebody else made this picture: only they can have it forgotten."""

    def __init__(self, code: str) -> None:
        super().__init__(f"receipt {code!r} belongs to somebody else")


class CastFullError(StoreError):
    """The story holds as many faces as it may. Remove one first."""

    def __init__(self, characters: int) -> None:
        super().__init__(f"the story has {characters} faces already")
        self.characters = characters


class PictureTooLargeError(StoreError):
    """A picture larger than what is kept in the database."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the picture has {size} bytes")


class GivenPictureNotFoundError(NotFoundError):
    """Nothing of that kind is kept of this person's drawings: they took it back already, or its time was over."""


class TooManyGivenError(StoreError):
    """This person gave as many drawings as one person may. Take one back first."""


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {job_id!r}")


class TurnBusyError(StoreError):
    """Words are being written here right now. Wait for them or stop them: `turn_id` is the open turn, for Stop."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id!r} is being written")
        self.turn_id = turn_id


class TurnUndoneError(StoreError):
    """This turn was undone. Go on from the story's head instead: `head_turn_id`."""

    def __init__(self, turn_id: str, head_turn_id: str) -> None:
        super().__init__(f"turn {turn_id!r} was undone; the story goes on from {head_turn_id!r}")
        self.turn_id, self.head_turn_id = turn_id, head_turn_id


class TurnWithoutTextError(StoreError):
    """This turn failed or was stopped before its first word: nothing to continue. Retry it instead."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id!r} has no text")
        self.turn_id = turn_id


class NothingToUndoError(StoreError):
    """The first turn of a story can't be undone: nothing comes before it."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"nothing comes before turn {turn_id!r}")
        self.turn_id = turn_id


class NotYoursError(StoreError):
    """Only the story's author, whoever asked for this turn, or a moderator may do this."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id!r} belongs to somebody else")
        self.turn_id = turn_id


class JobStateError(StoreError):
    """The job is past this step (it ended, or somebody stopped it meanwhile) or not there yet. `state` says where it
    stands; the row was left as it is."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"job {job_id!r} is {state}")
        self.job_id, self.state = job_id, state
