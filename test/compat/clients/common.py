# SPDX-License-Identifier: Apache-2.0
"""What the programs of this directory share.

$AWS_ENDPOINT_URL is where the API is, also for versions of boto3 that do not
read that variable themselves. The profiles consumer and provider are the two
accounts.
"""

import os

import boto3
from botocore.exceptions import ClientError


def client(profile, service):
    session = boto3.Session(profile_name=profile)
    return session.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def ok(check):
    print("ok", check, flush=True)


def refused(code, call, **arguments):
    """The call has to fail with AWS's code; the answer is its message."""
    try:
        answer = call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, f"want {code}, got {e}"
        return e.response["Error"]["Message"]
    raise AssertionError(f"want {code}, got success: {answer}")
