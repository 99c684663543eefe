"""What is usual for each symbol of a market, fitted on whole days."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.scan.layout import (
    ALONE,
    BINS_A_MINUTE,
    LEVELS,
    MOVES,
    PEERS,
    PRICE,
    SPREAD,
    SPREADS,
    VARIANTS,
    Usual,
)
from models.scan.quantiles import around, row_quantiles
from tapewatch.market.arrays import Array

Floats = npt.NDArray[np.float64]

#: Minutes on either side of a minute whose values tell what is usual in it.
_AROUND = 15
_RIDGE = 0.05
_TAILS = (0.5, 99.5)
_LEAST_MOVE_BPS = 0.05
#: Two-minute changes with both prices known that a weight needs.
_FEWEST_CHANGES = 60


def fit_usual(days: Sequence[Array]) -> Usual:
    """The usual levels, moves and peers of each symbol.

    Args:
        days: for each day, inputs (symbols x INPUTS x bins) of the same symbols; NaN prices where a symbol has no tape.
    """
    minutes = max(day.shape[2] for day in days) // BINS_A_MINUTE
    symbols = days[0].shape[0]
    level = np.full((symbols, LEVELS, minutes), np.nan)
    move = np.full((symbols, minutes), _LEAST_MOVE_BPS)
    for symbol in range(symbols):
        present = [day[symbol] for day in days if np.isfinite(day[symbol, PRICE]).any()]
        if not present:
            continue
        for series in range(LEVELS):
            sums = _stacked([_minute_sums(day, series) for day in present], minutes)
            level[symbol, series] = row_quantiles(around(sums, _AROUND), 0.5)
        move[symbol] = _moves(present, minutes)
        _mark_absent(level[symbol], present)
    return _with_peers(level, move, days)


def _minute_sums(day: Array, series: int) -> Floats:
    """Sums of whole minutes of one symbol's day."""
    if series < MOVES:
        values = day[series]
    elif series == MOVES:
        values = np.abs(np.diff(day[PRICE], prepend=np.nan))
    else:
        values = day[SPREAD]
    whole = values.size // BINS_A_MINUTE * BINS_A_MINUTE
    return np.asarray(np.nan_to_num(values[:whole]).reshape(-1, BINS_A_MINUTE).sum(axis=1))


def _stacked(rows: Sequence[Floats], minutes: int) -> Floats:
    """Days below each other; a short day ends in NaN."""
    stacked = np.full((len(rows), minutes), np.nan)
    for at, row in enumerate(rows):
        stacked[at, : row.size] = row
    return stacked


def _moves(present: Sequence[Array], minutes: int) -> Floats:
    """Root mean square of one-minute price changes at each time of day, without the largest."""
    changes = [
        day[PRICE, BINS_A_MINUTE::BINS_A_MINUTE] - day[PRICE, :-BINS_A_MINUTE:BINS_A_MINUTE]
        for day in (np.asarray(day) for day in present)
    ]
    stacked = _stacked([np.append(0.0, change)[:minutes] for change in changes], minutes)
    limit = np.nanpercentile(np.abs(stacked), _TAILS[1])
    squares = np.minimum(np.abs(stacked), limit) ** 2
    return np.asarray(np.maximum(np.nan_to_num(np.sqrt(np.nanmean(around(squares, _AROUND), axis=1))), _LEAST_MOVE_BPS))


def _mark_absent(level: Floats, present: Sequence[Array]) -> None:
    """Set the levels of series that the symbol never has to NaN."""
    for series in range(LEVELS):
        if series == MOVES:
            continue
        values = [day[SPREAD if series == SPREADS else series] for day in present]
        if not any(np.nan_to_num(each).any() for each in values):
            level[series] = np.nan


def _with_peers(level: Floats, move: Floats, days: Sequence[Array]) -> Usual:
    """The peers of each symbol, those whose two-minute returns are most like its own, and their weights."""
    symbols = level.shape[0]
    returns = [np.concatenate([_two_minute_returns(day[symbol, PRICE]) for day in days]) for symbol in range(symbols)]
    clipped = np.array([_clip(each) for each in returns])
    peer = np.full((symbols, PEERS), -1, dtype=np.int64)
    weight = np.zeros((symbols, VARIANTS, PEERS))
    variants = np.zeros(symbols, dtype=np.int64)
    residual_move = np.ones((symbols, VARIANTS))
    for symbol in range(symbols):
        chosen = _peers_of(symbol, clipped)
        peer[symbol, : len(chosen)] = chosen
        variants[symbol] = 1 + len(chosen) if len(chosen) > 1 else len(chosen)
        for variant in (*range(variants[symbol]), ALONE):
            slots = [slot for slot in range(len(chosen)) if slot != variant - 1 and variant != ALONE]
            beta, residual = _ridge(clipped[symbol], clipped[[chosen[slot] for slot in slots]])
            weight[symbol, variant, slots] = beta
            residual_move[symbol, variant] = max(residual / np.sqrt(np.mean(move[symbol] ** 2)), 0.07)
    return Usual(level, move, peer, weight, variants, residual_move)


def _two_minute_returns(price: Array) -> Floats:
    step = 2 * BINS_A_MINUTE
    return np.asarray(np.diff(price[::step]), dtype=np.float64)


def _clip(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    return np.clip(values, *np.percentile(known, _TAILS)) if known.size else values


def _peers_of(symbol: int, returns: Floats) -> list[int]:
    """The symbols with the highest absolute correlation, at most `PEERS`."""
    found: list[tuple[float, int]] = []
    for other in range(len(returns)):
        both = np.isfinite(returns[symbol]) & np.isfinite(returns[other])
        if other == symbol or both.sum() < _FEWEST_CHANGES:
            continue
        own, theirs = returns[symbol][both], returns[other][both]
        if own.std() > 0 and theirs.std() > 0:
            found.append((-abs(float(np.corrcoef(own, theirs)[0, 1])), other))
    return [other for _, other in sorted(found)[:PEERS]]


def _ridge(own: Floats, peers: Floats) -> tuple[Floats, float]:
    """Weights of the peers' returns, and the root mean square of what they leave."""
    known = np.isfinite(own) & np.isfinite(peers).all(axis=0)
    if known.sum() < _FEWEST_CHANGES or not len(peers):
        finite = own[np.isfinite(own)]
        return np.zeros(len(peers)), float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
    x, y = peers[:, known].T, own[known]
    scale = np.maximum(x.std(axis=0), 1e-9)
    x = x / scale
    beta = np.linalg.solve(x.T @ x + _RIDGE * len(y) * np.eye(x.shape[1]), x.T @ y)
    return beta / scale, float(np.sqrt(np.mean((y - x @ beta) ** 2)))
