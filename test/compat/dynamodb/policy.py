# SPDX-License-Identifier: Apache-2.0
"""What an endpoint's policy that names the rows of a table allows and denies to boto3."""
from botocore.exceptions import ClientError

from lab import client, run, step

db = client()
ann = {"who": {"S": "ann"}, "number": {"N": "1"}}
ben = {"who": {"S": "ben"}, "number": {"N": "1"}}


def denied(action, f, words="no VPC endpoint policy allows the dynamodb:", **kwargs):
    try:
        f(**kwargs)
    except ClientError as e:
        problem = e.response["Error"]
        assert problem["Code"] == "AccessDeniedException" and e.response["ResponseMetadata"]["HTTPStatusCode"] == 400, e
        assert "to perform: dynamodb:" + action + " on resource" in problem["Message"] and words in problem["Message"], e
        return
    raise AssertionError("was not denied")


def schema(name):
    return {"TableName": name, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": [{"AttributeName": "who", "AttributeType": "S"}, {"AttributeName": "number", "AttributeType": "N"}, {"AttributeName": "city", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "who", "KeyType": "HASH"}, {"AttributeName": "number", "KeyType": "RANGE"}],
            "GlobalSecondaryIndexes": [{"IndexName": "by-city", "KeySchema": [{"AttributeName": "city", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}]}


@step
def create():
    for name in ("orders", "other"):
        db.create_table(**schema(name))
        db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})


@step
def put():
    db.put_item(TableName="orders", Item={**ann, "city": {"S": "Ulm"}})
    denied("PutItem", db.put_item, TableName="orders", Item=ben)


@step
def get():
    assert db.get_item(TableName="orders", Key=ann)["Item"]["city"] == {"S": "Ulm"}
    denied("GetItem", db.get_item, TableName="orders", Key=ben)


@step
def another_members_key():
    """A member that an operation does not have names a row that is allowed."""
    def more(request, **_):
        request.data = request.data.replace(b'{"TableName"', b'{"Item":{"who":{"S":"ann"}},"TableName"')
        request.headers["Content-Length"] = str(len(request.data))
    sly = client()
    sly.meta.events.register("before-sign.dynamodb", more)
    denied("GetItem", sly.get_item, TableName="orders", Key=ben)
    denied("Scan", sly.scan, TableName="orders")


@step
def another_table():
    denied("GetItem", db.get_item, TableName="other", Key=ann)


@step
def update():
    db.update_item(TableName="orders", Key=ann, UpdateExpression="SET seen = :n", ExpressionAttributeValues={":n": {"N": "1"}})
    denied("UpdateItem", db.update_item, TableName="orders", Key=ben, UpdateExpression="SET seen = :n", ExpressionAttributeValues={":n": {"N": "1"}})


@step
def query():
    # The value of another attribute that looks like the key's changes nothing.
    assert db.query(TableName="orders", KeyConditionExpression="#k = :w", ExpressionAttributeNames={"#k": "who"}, ExpressionAttributeValues={":w": {"S": "ann"}})["Count"] == 1
    denied("Query", db.query, TableName="orders", KeyConditionExpression="#k = :w", FilterExpression="city = :c", ExpressionAttributeNames={"#k": "who"},
           ExpressionAttributeValues={":w": {"S": "ben"}, ":c": {"S": "ann"}})
    denied("Query", db.query, TableName="orders", KeyConditions={"who": {"AttributeValueList": [{"S": "ben"}], "ComparisonOperator": "EQ"}})


@step
def query_index():
    found = {"TableName": "orders", "IndexName": "by-city", "KeyConditionExpression": "city = :c"}
    assert db.query(**found, ExpressionAttributeValues={":c": {"S": "Ulm"}})["Count"] == 1
    denied("Query", db.query, **found, ExpressionAttributeValues={":c": {"S": "Bonn"}})


@step
def scan():
    denied("Scan", db.scan, TableName="orders")


@step
def batch_get():
    assert len(db.batch_get_item(RequestItems={"orders": {"Keys": [ann]}})["Responses"]["orders"]) == 1
    denied("BatchGetItem", db.batch_get_item, RequestItems={"orders": {"Keys": [ann, ben]}})
    denied("BatchGetItem", db.batch_get_item, RequestItems={"orders": {"Keys": [ann]}, "other": {"Keys": [ann]}})


@step
def batch_write():
    mine, other = {"PutRequest": {"Item": {**ann, "number": {"N": "2"}}}}, {"DeleteRequest": {"Key": ben}}
    db.batch_write_item(RequestItems={"orders": [mine]})
    denied("BatchWriteItem", db.batch_write_item, RequestItems={"orders": [mine, other]})
    denied("BatchWriteItem", db.batch_write_item, RequestItems={"orders": [mine], "other": [mine]})


# The emulator has no transactions: what is allowed gets to it, and it says so.
@step
def transactions():
    def unknown(f, items):
        try:
            f(TransactItems=items)
        except ClientError as e:
            assert e.response["Error"]["Code"] == "UnknownOperationException", e
            return
        raise AssertionError("has the emulator transactions now?")
    get, put = [{"Get": {"TableName": "orders", "Key": ann}}], [{"Put": {"TableName": "orders", "Item": ann}}]
    unknown(db.transact_get_items, get)
    unknown(db.transact_write_items, put)
    denied("GetItem", db.transact_get_items, TransactItems=get + [{"Get": {"TableName": "orders", "Key": ben}}])
    denied("PutItem", db.transact_write_items, TransactItems=put + [{"Put": {"TableName": "orders", "Item": ben}}])
    denied("ConditionCheckItem", db.transact_write_items, TransactItems=put + [{"ConditionCheck": {"TableName": "other", "Key": ann, "ConditionExpression": "attribute_exists(who)"}}])


@step
def delete():
    db.delete_item(TableName="orders", Key={**ann, "number": {"N": "2"}})
    denied("DeleteItem", db.delete_item, TableName="orders", Key=ben)


@step
def delete_table():
    denied("DeleteTable", db.delete_table, words="with an explicit deny in a VPC endpoint policy", TableName="orders")


@step
def nothing_denied_was_done():
    got = db.query(TableName="orders", KeyConditionExpression="#k = :w", ExpressionAttributeNames={"#k": "who"}, ExpressionAttributeValues={":w": {"S": "ann"}})
    assert [i["number"]["N"] for i in got["Items"]] == ["1"], got
    assert db.describe_table(TableName="orders")["Table"]["TableStatus"] == "ACTIVE"
    assert db.list_tables()["TableNames"] == ["orders", "other"]


run()
