#!/usr/bin/env python3
"""Sessions and closes of the New York Stock Exchange as the package exchange_calendars has them, which is none of our work.

    calendar_xnys.py FIRST LAST     dates; prints [[day, open, close, is_early_close], ..]: days and microseconds since 1970-01-01
"""

import json
import sys

import exchange_calendars


def main():
    first, last = sys.argv[1:]
    calendar = exchange_calendars.get_calendar("XNYS", start=first, end=last)
    early = set(calendar.early_closes)

    def microseconds(instant):
        return int(instant.timestamp()) * 1_000_000

    days = [(day, int(day.timestamp()) // 86_400) for day in calendar.sessions]
    print(json.dumps([[number, microseconds(calendar.opens[day]), microseconds(calendar.closes[day]), day in early] for day, number in days]))


if __name__ == "__main__":
    main()
