"""What the command line has a running Inkwell do with versions. Knows no socket and no model."""

from collections.abc import AsyncGenerator
from typing import Literal

import msgspec
from msgspec import Struct

from bot.errand import ErrandError, Errands, Tell
from bot.promotion import Promoted, Promoter, PromotionFailedError
from models.training.registry import SHIPPED, Promotion, RegistryError

BY = "the command line"


class Order(Struct, frozen=True, kw_only=True):
    """`version` "" is what is shipped; a rollback needs none."""

    act: Literal["promote", "rollback"]
    family: str
    version: str = SHIPPED
    reason: str = ""
    force: bool = False


class VersionOrders:
    """One at a time. It goes on when whoever gave it has gone."""

    def __init__(self, promoter: Promoter) -> None:
        self._promoter = promoter
        self._errands = Errands("promotion")

    def __call__(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Steps as JSON, as they happen; the last one has `ended`."""

        async def do(tell: Tell) -> str:
            try:
                order = msgspec.json.decode(body, type=Order)
            except msgspec.MsgspecError:
                raise ErrandError("What runs there is another version of Inkwell: restart it.") from None
            tell(f"Loading it beside the version of {order.family} that answers now.")
            return words_of(await self._obey(order))

        return self._errands.told(do)

    async def close(self) -> None:
        """One that is under way ends without a change."""
        await self._errands.close()

    async def _obey(self, order: Order) -> Promoted:
        family, reason, force = order.family, order.reason, order.force
        try:
            if order.act == "rollback":
                return await self._promoter.rollback(family, by=BY, reason=reason, force=force)
            return await self._promoter.promote(family, order.version, by=BY, reason=reason, force=force)
        except (RegistryError, PromotionFailedError) as error:
            raise ErrandError(str(error)) from None
        except OSError as error:
            raise ErrandError(f"The disk does not take it ({error.strerror}). Nothing was changed.") from None


def words_of(promoted: Promoted) -> str:
    """One sentence, or two where it changes nothing of what answers."""
    told = told_of(promoted.promotion)
    return f"{told} Yet something else answers: {promoted.why}" if promoted.why else f"{told} It answers from now on."


def told_of(promotion: Promotion) -> str:
    """What was written."""
    now, before = (each or "what is shipped" for each in (promotion.version, promotion.former))
    forced = ", by force" if promotion.forced else ""
    return f"The champion is {now} (before: {before}{forced})."
