# SPDX-License-Identifier: Apache-2.0
"""What the three programs share: clients, tags, and taking a VPC away."""

import os
import time

import boto3

# Versions of boto3 before 1.28 do not read the variable themselves.
ENDPOINT_URL = os.environ.get("AWS_ENDPOINT_URL")


def client(service):
    return boto3.client(service, endpoint_url=ENDPOINT_URL)


def tags(resource_type, project):
    return [{"ResourceType": resource_type, "Tags": [{"Key": "Project", "Value": project}]}]


def tagged(project):
    return [{"Name": "tag:Project", "Values": [project]}]


def where(name, *values):
    return [{"Name": name, "Values": list(values)}]


def until(condition, seconds=120):
    """Ask until it is so; states change within a second here and within minutes at AWS."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(1)
    return answer


def network(ec2, project):
    """A VPC with a subnet in two zones."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags("vpc", project))["Vpc"]["VpcId"]
    zones = ec2.describe_availability_zones()["AvailabilityZones"][:2]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=zone["ZoneName"])["Subnet"]["SubnetId"]
        for n, zone in enumerate(zones, 1)
    ]
    return vpc, subnets


def delete_network(ec2, project):
    for vpc in ec2.describe_vpcs(Filters=tagged(project))["Vpcs"]:
        inside = where("vpc-id", vpc["VpcId"])
        endpoints = [e["VpcEndpointId"] for e in ec2.describe_vpc_endpoints(Filters=inside)["VpcEndpoints"]]
        if endpoints:
            ec2.delete_vpc_endpoints(VpcEndpointIds=endpoints)
        until(lambda: not ec2.describe_vpc_endpoints(Filters=inside)["VpcEndpoints"])
        until(lambda: not ec2.describe_network_interfaces(Filters=inside)["NetworkInterfaces"])
        for group in ec2.describe_security_groups(Filters=inside)["SecurityGroups"]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        for subnet in ec2.describe_subnets(Filters=inside)["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        ec2.delete_vpc(VpcId=vpc["VpcId"])
        print("deleted", vpc["VpcId"])
