"""The vendor's reference tables of the codes in its tapes: exchanges, conditions of trades and quotes."""

from typing import Any

from tapewatch.market.conditions import CRYPTO_CONDITION_NAMES, STOCK_CONDITION_NAMES, STOCK_UPDATE_RULES, Updates

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

# code, and its letters on the consolidated tapes: CTA, UTP
_SALE_CONDITIONS = (
    (0, "", "@"),
    (1, "", "A"),
    (2, "B", "W"),
    (3, "E", ""),
    (4, "", "B"),
    (5, "", "G"),
    (7, "C", "C"),
    (8, "6", "6"),
    (9, "X", "X"),
    (10, "4", "4"),
    (11, "", "D"),
    (12, "T", "T"),
    (13, "U", "U"),
    (14, "F", "F"),
    (15, "M", "M"),
    (16, "Q", "Q"),
    (20, "N", "N"),
    (21, "H", "H"),
    (22, "P", "P"),
    (23, "", "K"),
    (25, "O", "O"),
    (27, "", "1"),
    (28, "5", "5"),
    (29, "R", "R"),
    (30, "L", "L"),
    (32, "", "Z"),
    (33, "Z", ""),
    (34, "", "S"),
    (35, "", "V"),
    (36, "", "Y"),
    (37, "I", "I"),
    (38, "9", "9"),
    (41, "", ""),
    (52, "V", "V"),
    (53, "7", "7"),
)
_QUOTE_CONDITIONS = (
    (1, "Regular, Two-Sided Open"),
    (2, "Regular, One-Sided Open"),
    (13, "Opening Quote"),
    (14, "Closing Quote"),
)


def exchanges() -> list[dict[str, Any]]:
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
    sales = [
        {
            "id": code, "type": "sale_condition", "name": STOCK_CONDITION_NAMES[code], "asset_class": "stocks",
            "data_types": ["trade"],
            "sip_mapping": {tape: text for tape, text in (("CTA", cta), ("UTP", utp)) if text},
            "update_rules": _rules(STOCK_UPDATE_RULES.get(code, Updates.EVERYTHING)),
        }
        for code, cta, utp in _SALE_CONDITIONS
    ]  # fmt: skip
    book = [
        {"id": code, "type": "quote_condition", "name": name, "asset_class": "stocks", "data_types": ["nbbo"]}
        for code, name in _QUOTE_CONDITIONS
    ]
    crypto = [
        {"id": code, "type": "sale_condition", "name": name, "asset_class": "crypto", "data_types": ["trade"]}
        for code, name in CRYPTO_CONDITION_NAMES.items()
    ]
    return [*sales, *book, *crypto]


def _rules(updates: Updates) -> dict[str, dict[str, bool]]:
    rules = {
        "updates_high_low": Updates.HIGH_LOW in updates,
        "updates_open_close": Updates.OPEN_CLOSE in updates,
        "updates_volume": Updates.VOLUME in updates,
    }
    return {"consolidated": rules, "market_center": rules}
