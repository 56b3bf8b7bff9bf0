"""config_schema.py SCHEMA: checks the schema itself, then TOML files named on stdin, one a line; prints each file's faults as JSON."""

import json
import sys
import tomllib

from jsonschema import Draft202012Validator


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    faults = {}
    for name in sys.stdin.read().split("\n"):
        if name:
            with open(name, "rb") as file:
                content = tomllib.load(file)
            errors = validator.iter_errors(content)
            faults[name] = sorted(".".join(map(str, error.absolute_path)) or error.message for error in errors)
    print(json.dumps(faults))


main()
