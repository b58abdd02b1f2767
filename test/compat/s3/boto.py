# SPDX-License-Identifier: Apache-2.0
"""What programs do with boto3, once with the bucket in the path and once in the
host's name. Each step is a function; a step that fails stops nothing."""
import base64
import hashlib
import io
import os
import socket
import urllib.error
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError

address, name = os.environ["S3"], os.environ["S3_NAME"]

# Buckets' names are names of this machine, whatever resolves names here.
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: look_up("127.0.0.1" if str(host).endswith("localhost") else host, *rest, **more)

steps = []


def step(f):
    steps.append(f)
    return f


def refused(codes, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except ClientError as e:
        assert e.response["Error"]["Code"] in codes, e
        return
    raise AssertionError("was not refused")


class Run:
    def __init__(self, style):
        self.style = style
        self.bucket = "bucket." + style if style == "path" else "bucket-" + style
        self.other = "other-" + style
        self.endpoint = "http://" + (address if style == "path" else name)
        self.s3 = self.client()
        self.big = hashlib.sha256(b"seed").digest() * (12_000_000 // 32)

    def client(self, **more):
        return boto3.client("s3", endpoint_url=self.endpoint, config=Config(
            s3={"addressing_style": self.style, **more.pop("s3", {})}, retries={"max_attempts": 0}, **more))

    def put(self, key, body=b"body", **more):
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def get(self, key, **more):
        return self.s3.get_object(Bucket=self.bucket, Key=key, **more)["Body"].read()


@step
def create_bucket(r):
    r.s3.create_bucket(Bucket=r.bucket)
    r.s3.create_bucket(Bucket=r.other)


@step
def list_buckets(r):
    assert r.bucket in [b["Name"] for b in r.s3.list_buckets()["Buckets"]]


@step
def put_get(r):
    r.put("a", Metadata={"Note": "x y", "under_score": "1"}, ContentType="text/plain", CacheControl="no-store")
    got = r.s3.get_object(Bucket=r.bucket, Key="a")
    assert got["Body"].read() == b"body" and got["ContentType"] == "text/plain" and got["CacheControl"] == "no-store", got
    assert got["Metadata"].get("note") == "x y" and got["Metadata"].get("under_score") == "1", got


@step
def put_empty(r):
    r.put("empty", b"")
    assert r.get("empty") == b""


@step
def odd_keys(r):
    keys = ["a b", "plus+", "per%20cent", "ünï/日本", "a//b", "amp&=?#", "quote'\"", "sem;i", "~tilde", "[x]", "dot/.hidden", "k" * 200, "emoji/😀", "back\\slash"]
    failed = []
    for key in keys:
        try:
            r.put(key, key.encode())
            assert r.get(key) == key.encode()
            r.s3.delete_object(Bucket=r.bucket, Key=key)
        except ClientError as e:
            failed.append((key, e.response["Error"]["Code"]))
    assert not [k for k, _ in failed if k not in ("a//b", "back\\slash")], failed


@step
def ranges(r):
    r.put("range", bytes(range(100)))
    for header, want in {"bytes=0-9": bytes(range(10)), "bytes=90-": bytes(range(90, 100)), "bytes=-5": bytes(range(95, 100))}.items():
        got = r.s3.get_object(Bucket=r.bucket, Key="range", Range=header)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["Body"].read() == want, header
    refused(["InvalidRange"], r.get, "range", Range="bytes=200-300")


@step
def head(r):
    assert r.s3.head_object(Bucket=r.bucket, Key="range")["ContentLength"] == 100
    refused(["404"], r.s3.head_object, Bucket=r.bucket, Key="none")


@step
def upload_in_parts(r):
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    r.s3.upload_fileobj(io.BytesIO(r.big), r.bucket, "big", Config=config)
    out = io.BytesIO()
    r.s3.download_fileobj(r.bucket, "big", out, Config=config)
    assert out.getvalue() == r.big


@step
def parts_by_hand(r):
    up = r.s3.create_multipart_upload(Bucket=r.bucket, Key="parts", Metadata={"a": "b"})["UploadId"]
    ids = dict(Bucket=r.bucket, Key="parts", UploadId=up)
    assert up in [u["UploadId"] for u in r.s3.list_multipart_uploads(Bucket=r.bucket)["Uploads"]]
    etags = [r.s3.upload_part(PartNumber=n, Body=r.big[:5 << 20], **ids)["ETag"] for n in (1, 2)]
    etags.append(r.s3.upload_part_copy(PartNumber=3, CopySource={"Bucket": r.bucket, "Key": "range"}, CopySourceRange="bytes=10-19", **ids)["CopyPartResult"]["ETag"])
    assert len(r.s3.list_parts(MaxParts=2, **ids)["Parts"]) == 2
    r.s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": n + 1, "ETag": e} for n, e in enumerate(etags)]}, **ids)
    assert r.get("parts") == r.big[:5 << 20] * 2 + bytes(range(10, 20))


@step
def abort_parts(r):
    ids = dict(Bucket=r.bucket, Key="aborted", UploadId=r.s3.create_multipart_upload(Bucket=r.bucket, Key="aborted")["UploadId"])
    r.s3.abort_multipart_upload(**ids)
    refused(["NoSuchUpload"], r.s3.upload_part, PartNumber=1, Body=b"x", **ids)


@step
def presigned_get(r):
    url = r.client(signature_version="s3v4").generate_presigned_url("get_object", {"Bucket": r.bucket, "Key": "a", "ResponseContentType": "text/css"})
    with urllib.request.urlopen(url) as got:
        assert got.read() == b"body" and got.headers["Content-Type"] == "text/css"
    try:
        urllib.request.urlopen(url + "0")
    except urllib.error.HTTPError as e:
        assert e.code == 403, e
    else:
        raise AssertionError("a changed signature is taken")


@step
def presigned_put(r):
    url = r.client(signature_version="s3v4").generate_presigned_url("put_object", {"Bucket": r.bucket, "Key": "presigned ü", "Metadata": {"a": "b"}})
    urllib.request.urlopen(urllib.request.Request(url, b"presigned", {"Content-Type": "", "x-amz-meta-a": "b"}, method="PUT")).read()
    assert r.get("presigned ü") == b"presigned"


@step
def presigned_post(r):
    form = r.client(signature_version="s3v4").generate_presigned_post(r.bucket, "posted/${filename}", Conditions=[["starts-with", "$key", "posted/"]])
    lines = []
    for k, v in form["fields"].items():
        lines.append('--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k, v))
    lines.append('--B\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nposted\r\n--B--\r\n')
    urllib.request.urlopen(urllib.request.Request(form["url"], "".join(lines).encode(), {"Content-Type": "multipart/form-data; boundary=B"})).read()
    keys = [o["Key"] for o in r.s3.list_objects_v2(Bucket=r.bucket, Prefix="posted/")["Contents"]]
    assert keys and r.get(keys[0]) == b"posted", keys


@step
def copy(r):
    r.s3.copy_object(Bucket=r.other, Key="copied ü", CopySource={"Bucket": r.bucket, "Key": "a"})
    got = r.s3.get_object(Bucket=r.other, Key="copied ü")
    assert got["Body"].read() == b"body" and got["Metadata"].get("note") == "x y"
    r.s3.copy_object(Bucket=r.other, Key="copied ü", CopySource=r.other + "/copied ü", Metadata={"new": "1"}, MetadataDirective="REPLACE")
    assert r.s3.head_object(Bucket=r.other, Key="copied ü")["Metadata"] == {"new": "1"}


@step
def copy_of_none(r):
    refused(["NoSuchKey"], r.s3.copy_object, Bucket=r.other, Key="x", CopySource={"Bucket": r.bucket, "Key": "none"})


@step
def conditional_get(r):
    etag = r.s3.head_object(Bucket=r.bucket, Key="a")["ETag"]
    assert r.get("a", IfMatch=etag) == b"body"
    refused(["304"], r.get, "a", IfNoneMatch=etag)
    refused(["PreconditionFailed"], r.get, "a", IfMatch='"other"')


def with_header(r, operation, header, value):
    s3 = r.client()
    s3.meta.events.register("before-sign.s3." + operation, lambda request, **_: request.headers.__setitem__(header, value))
    return s3


@step
def conditional_put(r):
    refused(["PreconditionFailed"], with_header(r, "PutObject", "If-None-Match", "*").put_object, Bucket=r.bucket, Key="a", Body=b"other")
    with_header(r, "PutObject", "If-None-Match", "*").put_object(Bucket=r.bucket, Key="fresh", Body=b"fresh")
    etag = r.s3.head_object(Bucket=r.bucket, Key="fresh")["ETag"]
    with_header(r, "PutObject", "If-Match", etag).put_object(Bucket=r.bucket, Key="fresh", Body=b"fresher")
    refused(["PreconditionFailed"], with_header(r, "PutObject", "If-Match", etag).put_object, Bucket=r.bucket, Key="fresh", Body=b"x")


@step
def checksums(r):
    crc = base64.b64encode(zlib.crc32(b"sum").to_bytes(4, "big")).decode()
    sha = base64.b64encode(hashlib.sha256(b"sum").digest()).decode()
    for algorithm, member, value in (("CRC32", "ChecksumCRC32", crc), ("SHA256", "ChecksumSHA256", sha)):
        r.put("sum", b"sum", ChecksumAlgorithm=algorithm)
        assert r.s3.head_object(Bucket=r.bucket, Key="sum", ChecksumMode="ENABLED")[member] == value
        refused(["BadDigest"], r.put, "sum", b"other", **{member: value})


@step
def trailers(r):
    body = b"trailing" * 1000
    s3 = r.client(s3={"payload_signing_enabled": True})
    s3.put_object(Bucket=r.bucket, Key="trailer", Body=io.BytesIO(body), ChecksumAlgorithm="SHA1")
    assert r.get("trailer") == body


@step
def chunked_by_hand(r):
    """An aws-chunked body with a trailing checksum, as boto3 sends it over TLS."""
    body = b"chunk" * 1000
    crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    wire = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(body), body, crc.encode())
    s3 = r.client()

    def rewrite(request, **_):
        for k, v in {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding": "aws-chunked", "X-Amz-Trailer": "x-amz-checksum-crc32",
                     "X-Amz-Decoded-Content-Length": str(len(body))}.items():
            del request.headers[k]
            request.headers[k] = v
        del request.headers["Content-MD5"]  # of the encoded body
        # what the signer goes by, which sets the first of these headers again
        request.context.setdefault("checksum", {})["request_algorithm"] = {"in": "trailer"}

    s3.meta.events.register("before-sign.s3.PutObject", rewrite)
    s3.put_object(Bucket=r.bucket, Key="chunked", Body=wire)
    assert r.get("chunked") == body


@step
def content_md5(r):
    r.put("md5", b"x", ContentMD5=base64.b64encode(hashlib.md5(b"x").digest()).decode())
    refused(["BadDigest"], r.put, "md5", b"y", ContentMD5=base64.b64encode(hashlib.md5(b"x").digest()).decode())


@step
def attributes(r):
    got = r.s3.get_object_attributes(Bucket=r.bucket, Key="a", ObjectAttributes=["ETag", "ObjectSize", "StorageClass"])
    assert got["ObjectSize"] == 4, got


@step
def object_tags(r):
    r.put("tagged", Tagging="a=b&c=d%20e")
    assert {"Key": "c", "Value": "d e"} in r.s3.get_object_tagging(Bucket=r.bucket, Key="tagged")["TagSet"]
    r.s3.put_object_tagging(Bucket=r.bucket, Key="tagged", Tagging={"TagSet": [{"Key": "n", "Value": "ü"}]})
    assert r.s3.get_object_tagging(Bucket=r.bucket, Key="tagged")["TagSet"] == [{"Key": "n", "Value": "ü"}]
    r.s3.delete_object_tagging(Bucket=r.bucket, Key="tagged")
    refused(["InvalidTag"], r.s3.put_object_tagging, Bucket=r.bucket, Key="tagged", Tagging={"TagSet": [{"Key": "n", "Value": "1"}, {"Key": "n", "Value": "2"}]})


@step
def bucket_tags(r):
    r.s3.put_bucket_tagging(Bucket=r.bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert r.s3.get_bucket_tagging(Bucket=r.bucket)["TagSet"] == [{"Key": "a", "Value": "b"}]
    r.s3.delete_bucket_tagging(Bucket=r.bucket)
    refused(["NoSuchTagSet"], r.s3.get_bucket_tagging, Bucket=r.bucket)


@step
def listings(r):
    for i in range(25):
        r.put("list/%02d/x" % i)
    pages = r.s3.get_paginator("list_objects_v2").paginate(Bucket=r.bucket, Prefix="list/", PaginationConfig={"PageSize": 7})
    assert len([o for p in pages for o in p["Contents"]]) == 25
    pages = r.s3.get_paginator("list_objects").paginate(Bucket=r.bucket, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 7})
    assert len([o for p in pages for o in p["CommonPrefixes"]]) == 25
    assert r.s3.list_objects_v2(Bucket=r.bucket, Prefix="list/", StartAfter="list/20/x")["KeyCount"] == 4
    assert r.s3.list_objects_v2(Bucket=r.bucket, Prefix="")["KeyCount"] > 25


@step
def batch_delete(r):
    got = r.s3.delete_objects(Bucket=r.bucket, Delete={"Objects": [{"Key": "list/%02d/x" % i} for i in range(25)] + [{"Key": "ü & <x>"}]})
    assert len(got["Deleted"]) == 26, got
    assert r.s3.list_objects_v2(Bucket=r.bucket, Prefix="list/")["KeyCount"] == 0
    r.s3.delete_objects(Bucket=r.bucket, Delete={"Objects": [{"Key": "fresh"}], "Quiet": True})
    refused(["NoSuchKey"], r.get, "fresh")


@step
def policies(r):
    doc = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/a"}]}' % r.bucket
    r.s3.put_bucket_policy(Bucket=r.bucket, Policy=doc)
    assert r.s3.get_bucket_policy(Bucket=r.bucket)["Policy"]
    anybody = r.client(signature_version=UNSIGNED)
    assert anybody.get_object(Bucket=r.bucket, Key="a")["Body"].read() == b"body"
    refused(["AccessDenied"], anybody.get_object, Bucket=r.bucket, Key="range")
    refused(["MalformedPolicy"], r.s3.put_bucket_policy, Bucket=r.bucket, Policy="{}")
    r.s3.delete_bucket_policy(Bucket=r.bucket)
    refused(["AccessDenied"], anybody.get_object, Bucket=r.bucket, Key="a")


@step
def acls(r):
    r.s3.put_bucket_ownership_controls(Bucket=r.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]})
    r.s3.put_bucket_acl(Bucket=r.bucket, ACL="public-read")
    assert len(r.s3.get_bucket_acl(Bucket=r.bucket)["Grants"]) == 2
    assert r.client(signature_version=UNSIGNED).list_objects_v2(Bucket=r.bucket)["KeyCount"] > 0
    r.s3.put_bucket_acl(Bucket=r.bucket, ACL="private")


@step
def cors(r):
    r.s3.put_bucket_cors(Bucket=r.bucket, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["http://a.example"]}]})
    assert r.s3.get_bucket_cors(Bucket=r.bucket)["CORSRules"][0]["AllowedMethods"] == ["GET"]


@step
def versions(r):
    r.s3.put_bucket_versioning(Bucket=r.other, VersioningConfiguration={"Status": "Enabled"})
    first = r.s3.put_object(Bucket=r.other, Key="v", Body=b"1")["VersionId"]
    r.s3.put_object(Bucket=r.other, Key="v", Body=b"2")
    assert r.s3.get_object(Bucket=r.other, Key="v", VersionId=first)["Body"].read() == b"1"
    r.s3.delete_object(Bucket=r.other, Key="v")
    refused(["NoSuchKey"], r.s3.get_object, Bucket=r.other, Key="v")
    assert len(r.s3.list_object_versions(Bucket=r.other, Prefix="v")["Versions"]) == 2


@step
def versioning_state(r):
    assert "Status" not in r.s3.get_bucket_versioning(Bucket=r.bucket)


@step
def object_lock_of_none(r):
    refused(["ObjectLockConfigurationNotFoundError"], r.s3.get_object_lock_configuration, Bucket=r.bucket)


@step
def lifecycle_of_none(r):
    refused(["NoSuchLifecycleConfiguration", "NotImplemented"], r.s3.get_bucket_lifecycle_configuration, Bucket=r.bucket)


@step
def location(r):
    assert r.s3.get_bucket_location(Bucket=r.bucket)["LocationConstraint"] is None


@step
def errors(r):
    refused(["NoSuchKey"], r.get, "none")
    refused(["NoSuchBucket"], r.s3.list_objects_v2, Bucket="no-such-" + r.style)
    refused(["404"], r.s3.head_bucket, Bucket="no-such-" + r.style)
    refused(["BucketNotEmpty"], r.s3.delete_bucket, Bucket=r.bucket)
    refused(["KeyTooLongError", "400"], r.put, "k" * 1025)


@step
def wrong_secret(r):
    other = boto3.client("s3", endpoint_url=r.endpoint, aws_secret_access_key="wrong", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], config=Config(s3={"addressing_style": r.style}))
    refused(["SignatureDoesNotMatch"], other.list_buckets)
    other = boto3.client("s3", endpoint_url=r.endpoint, aws_secret_access_key="x", aws_access_key_id="AKIANOBODY", config=Config(s3={"addressing_style": r.style}))
    refused(["InvalidAccessKeyId"], other.list_buckets)


@step
def expect_continue(r):
    r.put("continue", io.BytesIO(b"z" * 3_000_000))
    assert len(r.get("continue")) == 3_000_000


@step
def cleaned_up(r):
    for bucket in (r.bucket, r.other):
        held = r.s3.list_object_versions(Bucket=bucket)
        for o in held.get("Versions", []) + held.get("DeleteMarkers", []):
            r.s3.delete_object(Bucket=bucket, Key=o["Key"], VersionId=o["VersionId"])
        for o in r.s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            r.s3.delete_object(Bucket=bucket, Key=o["Key"])
        r.s3.delete_bucket(Bucket=bucket)


for style in ("path", "virtual"):
    r = Run(style)
    for f in steps:
        label = style + "/" + f.__name__
        try:
            f(r)
            print("PASS", label)
        except Exception as e:  # whatever a step ends with is its result
            print("FAIL", label, type(e).__name__, str(e).replace("\n", " ")[:500])
