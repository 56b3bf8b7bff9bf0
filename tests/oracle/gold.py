#!/usr/bin/env python3
"""Judges the gold tables from outside: computes them from silver as PyIceberg reads it, by the contract's formulas in plain Python, and compares every cell. Positions are folded one fill after the other in decimals of 50 digits; the sessions are those of exchange_calendars.

    gold.py CATALOG [WAREHOUSE]

Prints one JSON object; exit 0 when nothing is wrong, 3 when `violations` is not empty, 1 when it could not be judged.
"""

import argparse
import collections
import datetime
import decimal
import json
import math
import sys

import exchange_calendars
from pyiceberg.exceptions import NoSuchTableError

from lake import open_catalog

EXAMPLES = 5
TOLERANCE = 1e-9
UNIT = decimal.Decimal("0.00000001")
NO_TIME = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
TABLES = {
    "gold.daily_trading_summary": ("trading_date", "symbol"),
    "gold.market_overview": ("trading_date",),
    "gold.trader_performance": ("trading_date", "trader_id"),
    "gold.portfolio_positions": ("trading_date", "trader_id", "symbol"),
}
decimal.getcontext().prec = 50


def rows_of(catalog, name):
    """All rows of a table; none where there is no such table."""
    try:
        return catalog.load_table(name).scan().to_arrow().to_pylist()
    except NoSuchTableError:
        return []


class Near:
    """A number that was summed or divided: right within a part of the sum of its absolute terms."""

    def __init__(self, value, size):
        self.value, self.slack = float(value), TOLERANCE * max(float(size), 1e-300)

    def __eq__(self, other):
        return isinstance(other, float) and abs(self.value - other) <= self.slack

    def __repr__(self):
        return f"~{self.value!r}"


def mean(numbers):
    return Near(math.fsum(numbers) / len(numbers), math.fsum(map(abs, numbers))) if numbers else None


def in_order(trades):
    return sorted(trades, key=lambda trade: (trade["trade_timestamp"], trade["event_timestamp"] or NO_TIME, trade["trade_id"]))


def summary(trades, books, bars):
    reviews = collections.Counter((trade["trade_date"], trade["symbol"]) for trade in trades if trade["needs_review"])
    spreads, changes, of_symbol = (collections.defaultdict(list) for _ in range(3))
    for book in books:
        if book["best_bid"] is not None and book["best_ask"] is not None:
            spreads[book["snapshot_date"], book["symbol"]].append(book["best_ask"] - book["best_bid"])
    for bar in bars:
        changes[bar["market_date"], bar["symbol"]].append(bar["close"] - bar["open"])
    for trade in trades:
        if not trade["needs_review"]:
            of_symbol[trade["trade_date"], trade["symbol"]].append(trade)
    rows = {}
    for key, unsorted in of_symbol.items():
        ordered = in_order(unsorted)
        prices, quantities = [trade["price"] for trade in ordered], [trade["quantity"] for trade in ordered]
        volume, notional = math.fsum(quantities), math.fsum(p * q for p, q in zip(prices, quantities))
        rows[key] = {
            "open_price": prices[0], "close_price": prices[-1], "high_price": max(prices), "low_price": min(prices),
            "total_volume": Near(volume, volume), "trade_count": len(ordered), "review_count": reviews[key],
            "vwap": Near(notional / volume, notional / volume) if volume > 0 else None,
            "avg_spread": mean(spreads[key]), "avg_price_change": mean(changes[key]),
        }
    return rows


def overview(found_summary):
    """From the summary as the table has it, which is judged by itself."""
    days = collections.defaultdict(list)
    for row in found_summary:
        days[row["trading_date"]].append(row)
    rows = {}
    for day, of_day in days.items():
        moves = [((row["close_price"] - row["open_price"]) / row["open_price"] * 100, row["symbol"]) for row in of_day if row["open_price"] > 0]
        gainers = sorted((move for move in moves if move[0] > 0), key=lambda move: (-move[0], move[1]))[:5]
        losers = sorted((move for move in moves if move[0] < 0), key=lambda move: (move[0], move[1]))[:5]
        volume = math.fsum(row["total_volume"] for row in of_day)
        notional = math.fsum(row["vwap"] * row["total_volume"] for row in of_day if row["vwap"] is not None)
        signs = [(row["close_price"] > row["open_price"]) - (row["close_price"] < row["open_price"]) for row in of_day]
        rows[day,] = {
            "total_market_volume": Near(volume, volume), "market_vwap": Near(notional / volume, notional / volume) if volume > 0 else None,
            "advancing_symbols": signs.count(1), "declining_symbols": signs.count(-1), "unchanged_symbols": signs.count(0),
            "top_5_gainers": [{"symbol": symbol, "pct_change": change} for change, symbol in gainers],
            "top_5_losers": [{"symbol": symbol, "pct_change": change} for change, symbol in losers],
        }
    return rows


class Position:
    """Average cost, and the lots in the order in which they were opened."""

    def __init__(self):
        self.net, self.cost, self.lots = decimal.Decimal(0), decimal.Decimal(0), collections.deque()

    def fill(self, time, signed, price):
        """What it closed: quantity, profit, sum of quantity * seconds held, size of the profit's terms; None where nothing."""
        closed, rest = None, abs(signed)
        if self.net * signed < 0:
            sign = 1 if self.net > 0 else -1
            part = min(abs(self.net), rest)
            held, left = decimal.Decimal(0), part
            while left > 0:
                opened, quantity = self.lots.popleft()
                taken = min(quantity, left)
                held += taken * decimal.Decimal((time - opened) // datetime.timedelta(microseconds=1)) / 1000000
                left -= taken
                if quantity > taken:
                    self.lots.appendleft((opened, quantity - taken))
            closed = (part, part * (price - self.cost) * sign, held, part * (price + self.cost))
            self.net -= sign * part
            rest -= part
        if rest > 0:
            self.cost = (abs(self.net) * self.cost + rest * price) / (abs(self.net) + rest)
            self.net += rest if signed > 0 else -rest
            self.lots.append((time, rest))
        return closed


def performance_of(count, volume, closes):
    profits, size = [close[1] for close in closes], float(sum(close[3] for close in closes))
    total = peak = drawdown = decimal.Decimal(0)
    for profit in profits:
        total += profit
        peak = max(peak, total)
        drawdown = max(drawdown, peak - total)
    sharpe = None
    if len(profits) > 1:
        average = total / len(profits)
        deviation = (sum((profit - average) ** 2 for profit in profits) / (len(profits) - 1)).sqrt()
        # Profits that are equal but for the 40th digit are equal.
        if deviation > decimal.Decimal("1e-30"):
            sharpe = Near(average / deviation, max(1.0, size / float(deviation)))
    quantity = sum(close[0] for close in closes)
    held = sum(close[2] for close in closes) / quantity if closes else None
    return {
        "realized_pnl": Near(total, max(size, 1.0)), "max_drawdown": Near(drawdown, max(size, 1.0)), "trade_count": count, "total_volume": Near(volume, max(volume, 1)),
        "win_rate": Near(sum(profit > 0 for profit in profits) / len(profits), 1.0) if profits else None,
        "sharpe_proxy": sharpe, "avg_hold_seconds": Near(held, max(held, 1)) if closes else None,
    }


def positions(trades):
    """Performance and positions."""
    by_day = collections.defaultdict(list)
    days = {trade["trade_date"] for trade in trades}
    for trade in trades:
        if not trade["needs_review"] and trade["symbol"] is not None:
            by_day[trade["trade_date"]].append(trade)
    if days:
        sessions = exchange_calendars.get_calendar("XNYS", start=min(days).isoformat(), end=(max(days) + datetime.timedelta(days=7)).isoformat()).sessions
        days |= {session.date() for session in sessions if min(days) <= session.date() <= max(days)}
    books, prices = collections.defaultdict(Position), {}
    made, held = {}, {}
    for day in sorted(days):
        of_trader = collections.defaultdict(lambda: [0, decimal.Decimal(0), []])
        for trade in in_order(by_day[day]):
            prices[trade["symbol"]] = (trade["price"], day)
            if trade["trader_id"] is None or trade["side"] not in ("BUY", "SELL"):
                continue
            # The contract's fixed point: without it 150.30 bought and sold at the same price would be a profit.
            quantity, price = (decimal.Decimal(trade[name]).quantize(UNIT) for name in ("quantity", "price"))
            figures = of_trader[trade["trader_id"]]
            figures[0] += 1
            figures[1] += quantity
            if quantity:
                signed = quantity if trade["side"] == "BUY" else -quantity
                closed = books[trade["trader_id"], trade["symbol"]].fill(trade["trade_timestamp"], signed, price)
                figures[2] += [closed] if closed else []
        for trader, (count, volume, closes) in of_trader.items():
            made[day, trader] = performance_of(count, volume, closes)
        for (trader, symbol), position in books.items():
            if position.net:
                price, date = prices[symbol]
                value, size = position.net * decimal.Decimal(price), float(abs(position.net)) * (price + float(position.cost))
                held[day, trader, symbol] = {
                    "net_quantity": float(position.net), "avg_entry_price": Near(position.cost, position.cost), "current_price": price, "price_date": date,
                    "unrealized_pnl": Near(value - position.net * position.cost, size), "position_value": Near(value, size),
                }
    return made, held


def compare(name, expected, rows, violations):
    keys = TABLES[name]
    found = {tuple(row[key] for key in keys): row for row in rows}
    if len(found) != len(rows):
        violations.append({"check": name, "detail": f"{len(rows) - len(found)} keys twice"})
    wrong = [f"{key}: no row" for key in expected.keys() - found.keys()] + [f"{key}: a row too many" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        wrong += [f"{key} {column}: {found[key][column]!r} instead of {value!r}" for column, value in expected[key].items() if not value == found[key][column]]
    if wrong:
        violations.append({"check": name, "detail": f"{len(wrong)} differ, for instance {sorted(wrong)[:EXAMPLES]}"})


def judge(catalog):
    trades, books, bars = (rows_of(catalog, f"silver.{name}") for name in ("trades", "orderbook_snapshots", "market_data"))
    found = {name: rows_of(catalog, name) for name in TABLES}
    made, held = positions(trades)
    expected = [summary(trades, books, bars), overview(found["gold.daily_trading_summary"]), made, held]
    expected[0] = {(day, symbol): row for (day, symbol), row in expected[0].items()}
    violations = []
    for (name, rows), of_table in zip(found.items(), expected):
        compare(name, of_table, rows, violations)
    return {name: len(rows) for name, rows in found.items()}, violations


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog")
    parser.add_argument("warehouse", nargs="?")
    arguments = parser.parse_args()
    tables, violations = judge(open_catalog(arguments.catalog, arguments.warehouse))
    print(json.dumps({"tables": tables, "violations": violations}))
    return 3 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
