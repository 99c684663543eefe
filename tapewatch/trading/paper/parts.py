"""Market orders of a paper account in parts, one a minute, as `sliced` divides those of a backtest."""

from collections.abc import Callable, Sequence

import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.paper import PAPER_ORDERS
from tapewatch.market.tables.trading import ORDERS
from tapewatch.store.database.tables import twin
from tapewatch.trading.engine import EngineSettings
from tapewatch.trading.engine.refusals import Reason
from tapewatch.trading.strategies.slicing import SliceRules, sliced

#: Minute bars of symbols that start from a time on and were known at another (ns UTC).
Bars = Callable[[Sequence[str], int, int], pl.DataFrame]
#: Far enough back for the bars before the first order after a long weekend.
_LOOKBACK_NS = 5 * 24 * 60 * NS_PER_MINUTE


class Slicer:
    """Divides the orders that a broker takes.

    Args:
        rules: time, urgency and cap.
        bars: the tape of the account.
        settings: of the account, for the lots of its symbols.
    """

    def __init__(self, rules: SliceRules, bars: Bars, settings: EngineSettings) -> None:
        self._rules, self._bars, self._settings = rules, bars, settings

    def divided(
        self, connection: sa.Connection, account: str, sent: pl.DataFrame
    ) -> tuple[pl.DataFrame, dict[str, tuple[Reason, str]]]:
        """The orders with market orders in parts, and objections to those that would take too long.

        The parts take the place of their order in the account, in the connection's transaction.

        Args:
            connection: of the broker's step.
            account: whose orders they are.
            sent: `ORDERS` that the broker takes.
        """
        is_market = sent["kind"] == "market"
        if not is_market.any():
            return sent, {}
        times = sent.filter(is_market)["time"].dt.epoch("ns").sort().to_list()
        symbols = sent.filter(is_market)["symbol"].cast(pl.String).unique().to_list()
        bars = self._bars(symbols, times[0] - _LOOKBACK_NS, times[-1])
        frames, objections, whole = [ORDERS.empty()], {}, []
        for order in sent.iter_slices(1):
            name = order["order_id"].item()
            try:
                parts = sliced(order, bars, self._rules, self._settings.lot_of)
            except ValueError as error:
                parts, objections[name] = order, (Reason.ORDER, str(error))
            whole += [] if parts["order_id"].to_list() == [name] else [name]
            frames.append(parts)
        if whole:
            table = twin(PAPER_ORDERS)
            connection.execute(sa.delete(table).where(table.c.account == account, table.c.order_id.in_(whole)))
        return pl.concat(frames), objections
