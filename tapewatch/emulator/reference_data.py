"""The vendor's reference tables as far as its tapes use them: exchanges, trade and quote conditions.

Belongs here: facts about codes. Not here: what bars make of them (`market/conditions.py`, from which the update rules of
`/v3/reference/conditions` are taken).
"""

from typing import Any

from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates

# id, type, name, MIC, operating MIC, participant id
_STOCK_EXCHANGES = (
    (1, "exchange", "NYSE American, LLC", "XASE", "XNYS", "A"),
    (2, "exchange", "Nasdaq OMX BX, Inc.", "XBOS", "XNAS", "B"),
    (3, "exchange", "NYSE National, Inc.", "XCIS", "XNYS", "C"),
    (4, "TRF", "FINRA Alternative Display Facility", "XADF", "FINR", "D"),
    (7, "exchange", "Cboe EDGA", "EDGA", "XCBO", "J"),
    (8, "exchange", "Cboe EDGX", "EDGX", "XCBO", "K"),
    (9, "exchange", "NYSE Chicago, Inc.", "XCHI", "XNYS", "M"),
    (10, "exchange", "New York Stock Exchange", "XNYS", "XNYS", "N"),
    (11, "exchange", "NYSE Arca, Inc.", "ARCX", "XNYS", "P"),
    (12, "exchange", "Nasdaq", "XNAS", "XNAS", "T"),
    (15, "exchange", "Investors Exchange", "IEXG", "IEXG", "V"),
    (16, "exchange", "Cboe Stock Exchange", "CBSX", "XCBO", "W"),
    (17, "exchange", "Nasdaq Philadelphia Exchange LLC", "XPHL", "XNAS", "X"),
    (18, "exchange", "Cboe BYX", "BATY", "XCBO", "Y"),
    (19, "exchange", "Cboe BZX", "BATS", "XCBO", "Z"),
    (20, "exchange", "MIAX Pearl", "EPRL", "MIHI", "H"),
    (21, "exchange", "Members Exchange", "MEMX", "MEMX", "U"),
    (201, "TRF", "FINRA NYSE TRF", "FINY", "FINR", "D"),
    (202, "TRF", "FINRA Nasdaq TRF Carteret", "FINN", "FINR", "D"),
    (203, "TRF", "FINRA Nasdaq TRF Chicago", "FINC", "FINR", "D"),
)
_CRYPTO_EXCHANGES = ((1, "Coinbase"), (2, "Bitfinex"), (6, "Bitstamp"), (10, "Binance"), (23, "Kraken"))

# code, name, what the consolidated tapes write: CTA, UTP
_SALE_CONDITIONS = (
    (0, "Regular Sale", "", "@"),
    (1, "Acquisition", "", "A"),
    (2, "Average Price Trade", "B", "W"),
    (3, "Automatic Execution", "E", ""),
    (4, "Bunched Trade", "", "B"),
    (5, "Bunched Sold Trade", "", "G"),
    (7, "Cash Sale", "C", "C"),
    (8, "Closing Prints", "6", "6"),
    (9, "Cross Trade", "X", "X"),
    (10, "Derivatively Priced", "4", "4"),
    (11, "Distribution", "", "D"),
    (12, "Form T/Extended Hours", "T", "T"),
    (13, "Extended Hours (Sold Out Of Sequence)", "U", "U"),
    (14, "Intermarket Sweep", "F", "F"),
    (15, "Market Center Official Close", "M", "M"),
    (16, "Market Center Official Open", "Q", "Q"),
    (20, "Next Day", "N", "N"),
    (21, "Price Variation Trade", "H", "H"),
    (22, "Prior Reference Price", "P", "P"),
    (23, "Rule 155 Trade (AMEX)", "", "K"),
    (25, "Opening Prints", "O", "O"),
    (27, "Stopped Stock (Regular Trade)", "", "1"),
    (28, "Re-Opening Prints", "5", "5"),
    (29, "Seller", "R", "R"),
    (30, "Sold Last", "L", "L"),
    (32, "Sold (Out Of Sequence)", "", "Z"),
    (33, "Sold (Out of Sequence)", "Z", ""),
    (34, "Split Trade", "", "S"),
    (35, "Stock Option Trade", "", "V"),
    (36, "Yellow Flag Regular Trade", "", "Y"),
    (37, "Odd Lot Trade", "I", "I"),
    (38, "Corrected Consolidated Close (per listing market)", "9", "9"),
    (41, "Trade Thru Exempt", "", ""),
    (52, "Contingent Trade", "V", "V"),
    (53, "Qualified Contingent Trade", "7", "7"),
)
_QUOTE_CONDITIONS = (
    (1, "Regular, Two-Sided Open"),
    (2, "Regular, One-Sided Open"),
    (13, "Opening Quote"),
    (14, "Closing Quote"),
)
_CRYPTO_CONDITIONS = ((0, "None"), (1, "Sell Side"), (2, "Buy Side"))


def exchanges() -> list[dict[str, Any]]:
    """Rows of /v3/reference/exchanges."""
    stocks = [
        {
            "id": number, "type": kind, "asset_class": "stocks", "locale": "us", "name": name, "mic": mic,
            "operating_mic": operator, "participant_id": letter,
        }
        for number, kind, name, mic, operator, letter in _STOCK_EXCHANGES
    ]  # fmt: skip
    crypto = [
        {"id": number, "type": "exchange", "asset_class": "crypto", "locale": "global", "name": name}
        for number, name in _CRYPTO_EXCHANGES
    ]
    forex = [{"id": 48, "type": "exchange", "asset_class": "fx", "locale": "global", "name": "Currency Banks 1"}]
    return [*stocks, *crypto, *forex]


def conditions() -> list[dict[str, Any]]:
    """Rows of /v3/reference/conditions."""
    sales = [
        {
            "id": code, "type": "sale_condition", "name": name, "asset_class": "stocks", "data_types": ["trade"],
            "sip_mapping": {tape: text for tape, text in (("CTA", cta), ("UTP", utp)) if text},
            "update_rules": _rules(STOCK_UPDATE_RULES.get(code, Updates.EVERYTHING)),
        }
        for code, name, cta, utp in _SALE_CONDITIONS
    ]  # fmt: skip
    book = [
        {"id": code, "type": "quote_condition", "name": name, "asset_class": "stocks", "data_types": ["nbbo"]}
        for code, name in _QUOTE_CONDITIONS
    ]
    crypto = [
        {"id": code, "type": "sale_condition", "name": name, "asset_class": "crypto", "data_types": ["trade"]}
        for code, name in _CRYPTO_CONDITIONS
    ]
    return [*sales, *book, *crypto]


def _rules(updates: Updates) -> dict[str, dict[str, bool]]:
    rules = {
        "updates_high_low": Updates.HIGH_LOW in updates,
        "updates_open_close": Updates.OPEN_CLOSE in updates,
        "updates_volume": Updates.VOLUME in updates,
    }
    return {"consolidated": rules, "market_center": rules}
