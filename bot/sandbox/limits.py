"""Discord's limits, and the sandbox's own bounds, as numbers with their reason. Knows nothing else."""

from dataclasses import dataclass

# --- Discord's: https://discord.com/developers/docs
MAX_CONTENT_CHARS = 2_000
MAX_NONCE_CHARS = 25
MAX_FILES = 10  # in one message
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_REQUEST_BYTES = 25 * 1024 * 1024
MAX_FILE_DESCRIPTION_CHARS = 1_024

MAX_EMBEDS = 10
MAX_EMBED_CHARS = 6_000  # over all embeds of a message
MAX_EMBED_TITLE_CHARS = 256
MAX_EMBED_DESCRIPTION_CHARS = 4_096
MAX_EMBED_FIELDS = 25
MAX_EMBED_FIELD_NAME_CHARS = 256
MAX_EMBED_FIELD_VALUE_CHARS = 1_024
MAX_EMBED_FOOTER_CHARS = 2_048
MAX_EMBED_AUTHOR_CHARS = 256

MAX_ACTION_ROWS = 5  # of a message without components v2
MAX_BUTTONS_IN_ROW = 5
MAX_COMPONENTS = 40  # of a components v2 message, nested ones counted
MAX_DISPLAY_CHARS = 4_000  # over all text displays of a message
MAX_CUSTOM_ID_CHARS = 100
MAX_BUTTON_LABEL_CHARS = 80
MAX_URL_CHARS = 512
MAX_SELECT_OPTIONS = 25
MAX_SELECT_PLACEHOLDER_CHARS = 150
MAX_SELECT_TEXT_CHARS = 100  # label, value and description of an option
MAX_GALLERY_ITEMS = 10
MAX_SECTION_TEXTS = 3

MAX_MODAL_TITLE_CHARS = 45
MAX_MODAL_COMPONENTS = 5
MAX_MODAL_LABEL_CHARS = 45
MAX_MODAL_DESCRIPTION_CHARS = 100
MAX_TEXT_INPUT_CHARS = 4_000
MAX_TEXT_INPUT_PLACEHOLDER_CHARS = 100

MAX_SLASH_COMMANDS = 100
MAX_MENU_COMMANDS = 15  # user menus, and as many message menus
MAX_COMMAND_NAME_CHARS = 32
MAX_COMMAND_DESCRIPTION_CHARS = 100
MAX_COMMAND_CHARS = 8_000  # names, descriptions and choice values of one command, the longest localisation counted
MAX_OPTIONS = 25
MAX_CHOICES = 25
MAX_CHOICE_CHARS = 100
MAX_STRING_OPTION_CHARS = 6_000

MAX_CHANNEL_NAME_CHARS = 100
MAX_BULK_DELETE = 100
MAX_HISTORY_PAGE = 100
MAX_FOLLOWUPS_WITHOUT_BOT = 5  # where a person installed the bot and the guild or DM does not have it

GATEWAY_SENDS = 120  # a minute and connection
GATEWAY_SENDS_WINDOW_S = 60.0

# --- the sandbox's own, so that a world can't grow without end
KEPT_MESSAGES = 300  # in a channel; the oldest go
KEPT_THREADS = 200
KEPT_ATTACHMENT_BYTES = 512 * 1024 * 1024  # the oldest files go
KEPT_LOOSE_ATTACHMENTS = 100  # files of slash options, which belong to no message
KEPT_INTERACTIONS = 500
KEPT_REPLAY_EVENTS = 1_000  # of one gateway session, for resume
KEPT_SESSIONS = 16
MAX_GATEWAY_PAYLOAD_BYTES = 4_096  # Discord's, of what a bot sends
PAGE_QUEUE_EVENTS = 500  # a page slower than this is dropped and reconnects
MAX_PAGE_SOCKETS = 32


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long Discord waits, in seconds. Tests shorten it; nothing else should."""

    ack_s: float = 3.0  # to acknowledge an interaction
    token_s: float = 900.0  # an interaction's token
    heartbeat_s: float = 41.25
    resume_s: float = 300.0  # a dropped gateway session can be resumed
    typing_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Requests a bot may make in a window; more are answered 429. Messages: create and edit each, per channel or
    interaction token."""

    messages: int = 5
    messages_window_s: float = 5.0
    route: int = 50
    route_window_s: float = 10.0
    everything: int = 50
    everything_window_s: float = 1.0
