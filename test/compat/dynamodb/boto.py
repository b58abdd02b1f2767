# SPDX-License-Identifier: Apache-2.0
"""What programs do with boto3 at DynamoDB. Each step is a function, which answers what
it got; a step that fails stops nothing."""
import hashlib
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from lab import client, run, step

db = client()
table = client(boto3.resource).Table("orders")


def refused(code, f, **kwargs):
    try:
        f(**kwargs)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return e.response["Error"]
    raise AssertionError("was not refused")


@step
def create():
    made = db.create_table(
        TableName="orders", BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in (("who", "S"), ("number", "N"), ("city", "S"))],
        KeySchema=[{"AttributeName": "who", "KeyType": "HASH"}, {"AttributeName": "number", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[{"IndexName": "by-city", "KeySchema": [{"AttributeName": "city", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"},
                                 "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}])
    db.create_table(
        TableName="other", BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])
    for name in ("orders", "other"):
        db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return made


@step
def create_again():
    return refused("ResourceInUseException", db.create_table, TableName="other", BillingMode="PAY_PER_REQUEST",
                   AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])


@step
def describe_and_list():
    described = db.describe_table(TableName="orders")
    assert described["Table"]["GlobalSecondaryIndexes"][0]["IndexName"] == "by-city", described
    assert db.list_tables()["TableNames"] == ["orders", "other"]
    assert [t for p in db.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1}) for t in p["TableNames"]] == ["orders", "other"]
    return described


@step
def put_and_get_every_type():
    item = {"who": {"S": "ann"}, "number": {"N": "1"}, "city": {"S": "Köln ✓\u0000\n\"\\"}, "b": {"B": bytes(range(256))}, "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2.5"]},
            "bs": {"BS": [b"\x00", b"\xff"]}, "l": {"L": [{"S": "x"}, {"N": "-1e100"}, {"NULL": True}]}, "m": {"M": {"yes": {"BOOL": True}, "no": {"BOOL": False}}}}
    db.put_item(TableName="orders", Item=item)
    got = db.get_item(TableName="orders", Key={"who": item["who"], "number": item["number"]}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    for set_of in ("ss", "ns", "bs"):
        for values in got["Item"][set_of].values():
            values.sort()
    assert got["Item"]["b"] == item["b"] and got["Item"]["m"] == item["m"] and got["Item"]["city"] == item["city"], got
    return got


@step
def get_of_none():
    assert "Item" not in db.get_item(TableName="orders", Key={"who": {"S": "nobody"}, "number": {"N": "1"}})


@step
def projection():
    got = db.get_item(TableName="orders", Key={"who": {"S": "ann"}, "number": {"N": "1"}}, ProjectionExpression="#w, m.yes, l[0]", ExpressionAttributeNames={"#w": "who"})["Item"]
    assert got == {"who": {"S": "ann"}, "m": {"M": {"yes": {"BOOL": True}}}, "l": {"L": [{"S": "x"}]}}, got
    return got


@step
def large_item():
    text = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(5000))
    db.put_item(TableName="other", Item={"id": {"S": "large"}, "text": {"S": text}})
    assert db.get_item(TableName="other", Key={"id": {"S": "large"}})["Item"]["text"]["S"] == text
    return refused("ValidationException", db.put_item, TableName="other", Item={"id": {"S": "larger"}, "text": {"S": text * 2}})


@step
def conditions():
    again = {"TableName": "orders", "Item": {"who": {"S": "ann"}, "number": {"N": "1"}}, "ConditionExpression": "attribute_not_exists(who)"}
    return refused("ConditionalCheckFailedException", db.put_item, **again)


@step
def update():
    got = db.update_item(
        TableName="orders", Key={"who": {"S": "ann"}, "number": {"N": "2"}}, UpdateExpression="SET city = :c, seen = if_not_exists(seen, :n) + :one ADD ss :s REMOVE gone",
        ExpressionAttributeValues={":c": {"S": "Ulm"}, ":n": {"N": "0"}, ":one": {"N": "1"}, ":s": {"SS": ["z"]}}, ReturnValues="ALL_NEW")
    assert got["Attributes"]["seen"] == {"N": "1"}, got
    return got


@step
def batch_write():
    left = db.batch_write_item(RequestItems={
        "orders": [{"PutRequest": {"Item": {"who": {"S": "ben"}, "number": {"N": str(n)}, "city": {"S": "Ulm"}}}} for n in range(20)],
        "other": [{"PutRequest": {"Item": {"id": {"S": str(n)}}}} for n in range(5)]})
    assert left["UnprocessedItems"] == {}, left
    with table.batch_writer() as batch:
        for n in range(60):
            batch.put_item(Item={"who": "cleo", "number": n, "price": Decimal("1.25")})


@step
def batch_get():
    got = db.batch_get_item(RequestItems={
        "orders": {"Keys": [{"who": {"S": "ben"}, "number": {"N": str(n)}} for n in (1, 3, 99)], "ProjectionExpression": "city, #n", "ExpressionAttributeNames": {"#n": "number"}},
        "other": {"Keys": [{"id": {"S": "0"}}, {"id": {"S": "none"}}], "ConsistentRead": True}})["Responses"]
    assert [len(got["orders"]), len(got["other"])] == [2, 1], got
    return {k: sorted(v, key=str) for k, v in got.items()}


@step
def query():
    got = table.query(KeyConditionExpression=Key("who").eq("cleo") & Key("number").between(10, 12), FilterExpression=Attr("price").gt(1), ScanIndexForward=False)
    assert [i["number"] for i in got["Items"]] == [12, 11, 10], got
    pages = list(db.get_paginator("query").paginate(TableName="orders", KeyConditionExpression="who = :w", ExpressionAttributeValues={":w": {"S": "cleo"}}, PaginationConfig={"PageSize": 25}))
    assert [p["Count"] for p in pages] == [25, 25, 10], pages
    return pages


@step
def query_index():
    got = db.query(TableName="orders", IndexName="by-city", KeyConditionExpression="city = :c", ExpressionAttributeValues={":c": {"S": "Ulm"}}, Select="COUNT")
    assert got["Count"] == 21, got
    return got


@step
def query_of_old():
    got = db.query(TableName="orders", KeyConditions={"who": {"AttributeValueList": [{"S": "ben"}], "ComparisonOperator": "EQ"}}, Limit=3)
    assert got["Count"] == 3 and got["LastEvaluatedKey"]["number"] == {"N": "2"}, got
    return got


@step
def scan():
    assert sum(p["Count"] for p in db.get_paginator("scan").paginate(TableName="orders", PaginationConfig={"PageSize": 30})) == 82
    assert sum(db.scan(TableName="orders", TotalSegments=3, Segment=n)["Count"] for n in range(3)) == 82
    return db.scan(TableName="other", FilterExpression="attribute_exists(#t)", ExpressionAttributeNames={"#t": "text"}, Select="COUNT")


@step
def delete_item():
    got = db.delete_item(TableName="orders", Key={"who": {"S": "ben"}, "number": {"N": "0"}}, ReturnValues="ALL_OLD")
    assert got["Attributes"]["city"] == {"S": "Ulm"}, got
    return got


@step
def update_table():
    return db.update_table(TableName="orders", ProvisionedThroughput={"ReadCapacityUnits": 7, "WriteCapacityUnits": 5})


@step
def tags():
    arn = db.describe_table(TableName="other")["Table"]["TableArn"]
    db.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    assert db.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    db.untag_resource(ResourceArn=arn, TagKeys=["a"])
    return db.list_tags_of_resource(ResourceArn=arn)


@step
def time_to_live():
    return db.describe_time_to_live(TableName="other")


@step
def errors():
    return [
        refused("ResourceNotFoundException", db.get_item, TableName="none", Key={"id": {"S": "1"}}),
        refused("ResourceNotFoundException", db.describe_table, TableName="none"),
        refused("ValidationException", db.get_item, TableName="orders", Key={"who": {"S": "ann"}}),
        refused("ValidationException", db.query, TableName="orders", KeyConditionExpression="number = :n", ExpressionAttributeValues={":n": {"N": "1"}}),
    ]


# The emulator has no transactions and no PartiQL: that it says so comes through too.
@step
def transactions():
    key = {"who": {"S": "ann"}, "number": {"N": "1"}}
    refused("UnknownOperationException", db.transact_get_items, TransactItems=[{"Get": {"TableName": "orders", "Key": key}}])
    refused("UnknownOperationException", db.transact_write_items, TransactItems=[{"Put": {"TableName": "orders", "Item": key}}, {"Delete": {"TableName": "other", "Key": {"id": {"S": "1"}}}}])
    refused("UnknownOperationException", db.execute_statement, Statement="SELECT * FROM orders WHERE who = 'ann'")


@step
def delete_table():
    for name in ("orders", "other"):
        db.delete_table(TableName=name)
        db.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    assert db.list_tables()["TableNames"] == []


run()
