"""Bars of mlfinpy from trades: JSON on standard input, bars and seconds as JSON on standard output.

It imports nothing of this repository: `tests/oracles/compare_bars.py` starts it and compares.
"""

import json
import sys
import time

import pandas as pd
from mlfinpy.data_structure.imbalance_bars import get_const_dollar_imbalance_bars
from mlfinpy.data_structure.standard_bars import get_dollar_bars, get_tick_bars, get_volume_bars

_SOURCES = {"tick": get_tick_bars, "volume": get_volume_bars, "dollar": get_dollar_bars}
_COLUMNS = ["open", "high", "low", "close", "volume", "cum_ticks"]


def main() -> None:
    given = json.load(sys.stdin)
    times = pd.to_datetime(given["times"], unit="ns")
    trades = pd.DataFrame({"date_time": times, "price": given["prices"], "volume": given["sizes"]})
    found = {}
    for clock, threshold in given["thresholds"].items():
        begun = time.perf_counter()
        bars = _SOURCES[clock](trades, threshold=threshold, verbose=False)
        seconds = time.perf_counter() - begun
        found[clock] = {"seconds": seconds, "bars": bars[_COLUMNS].astype(float).to_numpy().tolist()}
    begun = time.perf_counter()
    get_const_dollar_imbalance_bars(trades, expected_imbalance_window=1000, exp_num_ticks_init=1000, verbose=False)
    found["dollar_imbalance"] = {"seconds": time.perf_counter() - begun}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
