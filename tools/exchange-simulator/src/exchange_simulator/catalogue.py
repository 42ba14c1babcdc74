"""The markets of the simulated exchanges: assets by size, and the number of assets per exchange and quote currency."""

# fmt: off
ASSETS: dict[str, float] = {
    "BTC": 60_000, "ETH": 3_000, "SOL": 150, "XRP": 0.6, "BNB": 550, "DOGE": 0.12, "ADA": 0.4, "TRX": 0.13,
    "AVAX": 28, "LINK": 12, "TON": 5.5, "SHIB": 0.000018, "DOT": 5, "BCH": 350, "LTC": 70, "NEAR": 4.5, "UNI": 7,
    "PEPE": 0.0000085, "ICP": 8, "APT": 7, "ETC": 19, "XLM": 0.1, "XMR": 160, "FIL": 4, "ATOM": 5, "HBAR": 0.055,
    "ARB": 0.6, "OP": 1.6, "INJ": 20, "SUI": 1.1, "STX": 1.6, "IMX": 1.4, "AAVE": 130, "GRT": 0.15, "RENDER": 5.5,
    "ALGO": 0.13, "TIA": 5, "SEI": 0.3, "FET": 1.2, "MKR": 1_900, "LDO": 1.1, "QNT": 75, "FLOW": 0.6, "SAND": 0.27,
    "MANA": 0.29, "AXS": 5, "EGLD": 30, "THETA": 1.3, "XTZ": 0.7, "CHZ": 0.06, "EOS": 0.5, "CRV": 0.3, "SNX": 1.5,
    "COMP": 45, "DYDX": 1, "ENJ": 0.15, "1INCH": 0.27, "ZEC": 30, "DASH": 25, "KSM": 19, "BAT": 0.18, "ZRX": 0.32,
    "GALA": 0.021, "APE": 0.75, "JUP": 0.8, "WIF": 1.8, "BONK": 0.00002, "FLOKI": 0.00014, "ENS": 18, "LPT": 13,
    "YFI": 5_000, "SUSHI": 0.6,
}
# fmt: on
"""Listed assets, the largest first, with their usual price in US dollars."""

CURRENCIES: dict[str, float] = {"USD": 1.0, "USDT": 1.0, "USDC": 1.0, "FDUSD": 1.0, "EUR": 1.09, "GBP": 1.28}
"""Quote currencies other than BTC and ETH, with their value in US dollars."""

EVERYTHING = len(ASSETS)

SPOT: dict[str, dict[str, int]] = {
    "binance": {"USDT": EVERYTHING, "USDC": 50, "BTC": 60, "FDUSD": 20, "ETH": 15, "EUR": 15},
    "kraken": {"USD": EVERYTHING, "EUR": EVERYTHING, "USDT": 20, "USDC": 15, "BTC": 30, "GBP": 12},
    "coinbase": {"USD": EVERYTHING, "USDC": EVERYTHING, "EUR": 25, "USDT": 20, "BTC": 15, "GBP": 12},
    "bybit": {"USDT": EVERYTHING, "USDC": 40, "EUR": 12, "BTC": 8},
    "okx": {"USDT": EVERYTHING, "USDC": 50, "USD": 15, "EUR": 15, "BTC": 15},
}
"""For each exchange and quote currency: how many of the largest assets it lists."""

SWAPS: dict[str, dict[str, int]] = {
    "binance": {"USDT": EVERYTHING, "USDC": 12},
    "bybit": {"USDT": EVERYTHING, "USDC": 6},
    "okx": {"USDT": EVERYTHING, "USDC": 4},
}
"""The same for linear perpetual swaps, which are settled in the quote currency."""

STOCK_TOKENS: dict[str, float] = {"AAPLx": 210.0, "TSLAx": 240.0}
"""Kraken's assets in mixed case. ccxt writes the symbol in capitals: `AAPLX/USD` with the id `AAPLxUSD`."""


def usd_price(asset: str) -> float:
    """The usual price of the asset in US dollars. Assets that are not listed cost 10 dollars."""
    return ASSETS.get(asset) or CURRENCIES.get(asset) or STOCK_TOKENS.get(asset, 10.0)


def size_rank(asset: str) -> int:
    """1 for the largest asset. Unknown assets come last."""
    return list(ASSETS).index(asset) + 1 if asset in ASSETS else EVERYTHING + 1


def is_currency(asset: str) -> bool:
    return asset in CURRENCIES
