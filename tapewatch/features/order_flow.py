"""Order flow: imbalances, VPIN and activity against its usual level, from minute sums."""

import numpy as np
import numpy.typing as npt

from tapewatch.features.sums import MinuteSums, ratio
from tapewatch.features.windows import ENOUGH
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND

_SECONDS = NS_PER_MINUTE / NS_PER_SECOND


def order_flow(sums: MinuteSums) -> dict[str, npt.NDArray[np.float64]]:
    """Imbalances, VPIN and activity against the usual, by column of `MICROSTRUCTURE`; NaN where undefined.

    - `order_flow_imbalance`: (buy - sell) / (buy + sell) volume; undefined without a classified trade.
    - `vpin`: Easley, López de Prado and O'Hara (2012), the summed |buy - sell| of the last 50 volume buckets over their
      volume. It departs from the paper: trades are signed one by one, not in bulk; a bucket holds the mean classified volume
      of a minute over the last 30, fixed when it opens, since the day's volume is not known yet; no bucket spans the regular
      open or close.
    - `best_level_ofi`: Cont, Kukanov and Stoikov (2014), equation 5, over the sum of absolute contributions, so that
      it lies between -1 and 1; needs sizes.
    - `flow_score_3m`, `flow_score_5m`: (buys - sells) / sqrt(buys + sells), counted over 3 or 5 minutes: a standard normal if
      sides are coin tosses. 0 if the minute's own trades do not lean that way, so that it ends with its cause; undefined
      without a classified trade in the window.
    - `sustained_volume_2m`, `sustained_volume_3m`: see `sustained_volume`.
    - `*_ratio`: against the mean minute of the window before, silent minutes included; undefined in the first minutes
      of each part of the day.
    """
    buy, sell, volume = sums["buy_volume"], sums["sell_volume"], sums["volume"]
    usual_volume = sums.mean_minute(volume)
    quotes = np.where(sums["last_quote"] >= 0, sums["quote_count"], np.nan)
    return {
        "order_flow_imbalance": ratio(buy - sell, buy + sell),
        "vpin": sums["vpin"],
        "best_level_ofi": ratio(sums["ofi"], sums["ofi_turnover"]),
        "volume_ratio": ratio(volume, usual_volume),
        "sustained_volume_2m": sustained_volume(sums, usual_volume, 2),
        "sustained_volume_3m": sustained_volume(sums, usual_volume, 3),
        "signed_volume_ratio": ratio(buy - sell, usual_volume),
        "flow_score_3m": flow_score(sums, 3),
        "flow_score_5m": flow_score(sums, 5),
        "trade_count_ratio": ratio(sums["trade_count"], sums.mean_minute(sums["trade_count"])),
        "quote_rate_hz": quotes / _SECONDS,
        "quote_count_ratio": ratio(quotes, sums.mean_minute(quotes)),
    }


def flow_score(sums: MinuteSums, width: int) -> npt.NDArray[np.float64]:
    """Net count of buyers over `width` minutes, in standard deviations of coin tosses; see `order_flow`."""
    net = sums["buy_count"] - sums["sell_count"]
    total_net, total = sums.trailing(net, sums["buy_count"] + sums["sell_count"], with_current=True, width=width)
    return np.where((total_net * net > 0) | (total == 0), ratio(total_net, np.sqrt(total)), 0.0)


def sustained_volume(sums: MinuteSums, usual_volume: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """The least volume among the last `width` minutes over the mean minute of the window before the first of them.

    One large print does not raise it, and the first ordinary minute ends it. 0 if one of the minutes was silent; undefined in
    the first minutes of each part of the day, and where nothing traded in the window.

    Args:
        sums: the minutes.
        usual_volume: the mean minute of the window before each row.
        width: number of minutes.
    """
    volume, row = sums["volume"], np.arange(sums.minute.size)
    first = np.maximum(row - (width - 1), 0)
    # Outside regular hours a silent minute has no row.
    is_unbroken = (sums.segment[first] == sums.segment) & (sums.minute - sums.minute[first] == width - 1)
    least = np.min([volume[np.maximum(row - back, 0)] for back in range(width)], axis=0)
    is_busy = is_unbroken & (least > 0)
    has_window = sums.minutes_before >= ENOUGH + width - 1
    return np.where(has_window, np.where(is_busy, ratio(least, usual_volume[first]), 0.0), np.nan)
