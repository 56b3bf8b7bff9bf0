#!/usr/bin/env python3
"""How many live files the partitions of a table have, as PyIceberg lists them.

    partition_files.py CATALOG --table silver.trades

Prints one JSON object: partitions, data files, delete files, and the most files (both kinds) of one partition.
"""

import argparse
import collections
import json

from lake import open_catalog


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog")
    parser.add_argument("--table", required=True)
    arguments = parser.parse_args()
    files = open_catalog(arguments.catalog).load_table(arguments.table).inspect.files().select(["content", "partition"]).to_pylist()
    partitions = collections.Counter(str(file["partition"]) for file in files)
    kinds = collections.Counter(file["content"] == 0 for file in files)
    print(json.dumps({"partitions": len(partitions), "data_files": kinds[True], "delete_files": kinds[False], "most": max(partitions.values(), default=0)}))


if __name__ == "__main__":
    main()
