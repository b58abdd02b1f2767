#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A VPC with an interface endpoint to a service of another account.

interface.py up SERVICE | wait | down
"""

import sys

from common import client, delete_network, network, tagged, tags, until

PROJECT = "example-interface"


def up(service):
    ec2 = client("ec2")
    vpc, subnets = network(ec2, PROJECT)
    group = ec2.create_security_group(VpcId=vpc, GroupName=PROJECT, Description="who may use the endpoint")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="10.0.0.0/16")
    endpoint = ec2.create_vpc_endpoint(
        VpcEndpointType="Interface",
        VpcId=vpc,
        ServiceName=service,
        SubnetIds=subnets,
        SecurityGroupIds=[group],
        PrivateDnsEnabled=False,
        TagSpecifications=tags("vpc-endpoint", PROJECT),
    )["VpcEndpoint"]
    print("endpoint", endpoint["VpcEndpointId"], endpoint["State"])


def wait():
    ec2 = client("ec2")

    def decided():
        [endpoint] = ec2.describe_vpc_endpoints(Filters=tagged(PROJECT))["VpcEndpoints"]
        return None if endpoint["State"] in ("pendingAcceptance", "pending") else endpoint

    endpoint = until(decided)
    if endpoint["State"] != "available":
        sys.exit(f"the endpoint is {endpoint['State']}")
    for entry in endpoint["DnsEntries"]:
        print("name", entry["DnsName"])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up", service]:
            up(service)
        case ["wait"]:
            wait()
        case ["down"]:
            delete_network(client("ec2"), PROJECT)
        case _:
            sys.exit(__doc__)
