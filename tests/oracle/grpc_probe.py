#!/usr/bin/env python3
"""A gRPC client that shares nothing with the node: messages come from the node's own reflection. One JSON value a line.

    grpc_probe.py HOST:PORT [--ca FILE] [--cert FILE --key FILE] [--token TOKEN] WHAT

    services                       names that reflection lists
    health [SERVICE]               its status
    watch-health                   each status, and how the stream ended
    call SERVICE/METHOD [JSON]     {"code": ..., "tapehouse_code": ..., "answer": ...}
    stream SERVICE/METHOD N [JSON] the first N answers
    bytes SERVICE/METHOD HEX|=N    sends these bytes, or N zero bytes, as the message
    flood SERVICE/METHOD N         N requests at once over 8 connections: {"codes": {...}, "seconds": ...}
"""
import argparse
import collections
import concurrent.futures
import json
import sys
import time

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE_S = 20


def connect(args):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 1 << 26)]
    if not args.ca:
        return grpc.insecure_channel(args.target, options)
    read = lambda path: open(path, "rb").read() if path else None
    credentials = grpc.ssl_channel_credentials(read(args.ca), read(args.key), read(args.cert))
    return grpc.secure_channel(args.target, credentials, options)


class Node:
    def __init__(self, args):
        self.args = args
        self.channel = connect(args)
        self.metadata = [("authorization", f"Bearer {args.token}")] if args.token else []

    def database(self):
        # The reflection client of grpcio has no place for metadata: an interceptor shows the token.
        channel = grpc.intercept_channel(self.channel, Shown(self.metadata)) if self.metadata else self.channel
        return ProtoReflectionDescriptorDatabase(channel)

    def method(self, name):
        service, method = name.split("/")
        descriptor = DescriptorPool(self.database()).FindServiceByName(service).FindMethodByName(method)
        return message_factory.GetMessageClass(descriptor.input_type), message_factory.GetMessageClass(descriptor.output_type)

    def unary(self, name, channel=None):
        return (channel or self.channel).unary_unary(f"/{name}", request_serializer=None, response_deserializer=None)


class Shown(grpc.StreamStreamClientInterceptor):
    def __init__(self, metadata):
        self.metadata = metadata

    def intercept_stream_stream(self, proceed, details, requests):
        details = details._replace(metadata=list(details.metadata or []) + self.metadata)
        return proceed(details, requests)


def refused(error):
    trailers = dict(error.trailing_metadata() or ())
    return {"code": error.code().name, "message": error.details(), "tapehouse_code": trailers.get("tapehouse-code"), "hint": trailers.get("tapehouse-hint")}


def answered(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def call(node, name, text):
    request, answer = node.method(name)
    message = json_format.Parse(text, request())
    raw = node.unary(name)(message.SerializeToString(), metadata=node.metadata, timeout=DEADLINE_S)
    return {"code": "OK", "answer": answered(answer.FromString(raw))}


def stream(node, name, count, text):
    request, answer = node.method(name)
    message = json_format.Parse(text, request()).SerializeToString()
    answers = node.channel.unary_stream(f"/{name}", request_serializer=None, response_deserializer=None)(message, metadata=node.metadata)
    for number, raw in enumerate(answers, 1):
        print(json.dumps(answered(answer.FromString(raw))), flush=True)
        if number == count:
            return
    print(json.dumps({"code": answers.code().name}), flush=True)


def flood(node, name, count):
    channels = [connect(node.args) for _ in range(8)]
    started = time.monotonic()

    def one(number):
        try:
            node.unary(name, channels[number % 8])(b"", metadata=node.metadata, timeout=DEADLINE_S)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        codes = collections.Counter(pool.map(one, range(count)))
    return {"codes": codes, "seconds": time.monotonic() - started}


def watch_health(node):
    stub = health_pb2_grpc.HealthStub(node.channel)
    statuses = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    try:
        for status in statuses:
            print(json.dumps(health_pb2.HealthCheckResponse.ServingStatus.Name(status.status)), flush=True)
    except grpc.RpcError as error:
        print(json.dumps(refused(error)), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    for option in ["--ca", "--cert", "--key", "--token"]:
        parser.add_argument(option)
    parser.add_argument("what")
    parser.add_argument("rest", nargs="*")
    args = parser.parse_args()
    node, rest = Node(args), args.rest
    try:
        if args.what == "services":
            result = sorted(node.database().get_services())
        elif args.what == "health":
            request = health_pb2.HealthCheckRequest(service=rest[0] if rest else "")
            status = health_pb2_grpc.HealthStub(node.channel).Check(request, timeout=DEADLINE_S).status
            result = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
        elif args.what == "watch-health":
            return watch_health(node)
        elif args.what == "call":
            result = call(node, rest[0], rest[1] if len(rest) > 1 else "{}")
        elif args.what == "stream":
            return stream(node, rest[0], int(rest[1]), rest[2] if len(rest) > 2 else "{}")
        elif args.what == "bytes":
            content = bytes(int(rest[1][1:])) if rest[1].startswith("=") else bytes.fromhex(rest[1])
            node.unary(rest[0])(content, metadata=node.metadata, timeout=DEADLINE_S)
            result = {"code": "OK"}
        elif args.what == "flood":
            result = flood(node, rest[0], int(rest[1]))
        else:
            parser.error(f"no such check: {args.what}")
    except grpc.RpcError as error:
        result = refused(error)
    except Exception as error:  # reflection turns a refusal into errors of its own
        cause = error.__cause__ or error.__context__ or error
        result = refused(cause) if isinstance(cause, grpc.RpcError) else {"code": "CLIENT", "message": repr(error)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
