#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A VPC whose way to S3 is a gateway endpoint that lets through one bucket.

gateway.py up BUCKET | down
"""

import json
import sys

from common import client, delete_network, network, tags, where

PROJECT = "example-gateway"


def up(bucket):
    ec2 = client("ec2")
    vpc, _ = network(ec2, PROJECT)
    table = ec2.describe_route_tables(Filters=where("vpc-id", vpc))["RouteTables"][0]["RouteTableId"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
        ],
    }
    endpoint = ec2.create_vpc_endpoint(
        VpcEndpointType="Gateway",
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{ec2.meta.region_name}.s3",
        RouteTableIds=[table],
        PolicyDocument=json.dumps(policy),
        TagSpecifications=tags("vpc-endpoint", PROJECT),
    )["VpcEndpoint"]
    print("vpc", vpc)
    print("endpoint", endpoint["VpcEndpointId"])
    for route in ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]:
        if route.get("GatewayId") == endpoint["VpcEndpointId"]:
            print("route", route["DestinationPrefixListId"], route["GatewayId"])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up", bucket]:
            up(bucket)
        case ["down"]:
            delete_network(client("ec2"), PROJECT)
        case _:
            sys.exit(__doc__)
