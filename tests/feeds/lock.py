#!/usr/bin/env python3
"""Holds the write lock of a SQLite catalog, as a writer does that hangs.

    lock.py DATABASE

Prints `locked` when it has it, and gives it back when the standard input ends. Apart from the other feeds: their imports take seconds, in
which a running node gets on.
"""

import sqlite3
import sys


def main():
    database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.read()
    database.execute("ROLLBACK")


if __name__ == "__main__":
    main()
