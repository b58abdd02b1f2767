# SPDX-License-Identifier: Apache-2.0
"""What the scripts share: clients of DynamoDB at its own name, and steps."""
import hashlib
import json
import os
import socket

import boto3
from botocore.client import Config

# DynamoDB's name is this machine's, whatever resolves names here.
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: look_up("127.0.0.1", *rest, **more)

steps = []


def client(make=boto3.client):
    return make("dynamodb", endpoint_url=os.environ["DYNAMODB"], config=Config(retries={"max_attempts": 0}))


def step(f):
    """Has f be a step, which fails or answers what must be the same each time."""
    steps.append(f)
    return f


def plain(answer):
    """An answer without what is another one each time."""
    if isinstance(answer, dict):
        return {k: plain(v) for k, v in answer.items() if k not in ("ResponseMetadata", "CreationDateTime", "TableId", "LastIncreaseDateTime", "LastDecreaseDateTime")}
    if isinstance(answer, list):
        return [plain(v) for v in answer]
    return answer


def run():
    for f in steps:
        try:
            said = json.dumps(plain(f()), sort_keys=True, default=str)
            print("PASS", f.__name__, hashlib.sha256(said.encode()).hexdigest()[:16])
        except Exception as e:  # whatever a step ends with is its result
            print("FAIL", f.__name__, type(e).__name__, str(e).replace("\n", " ")[:500])
