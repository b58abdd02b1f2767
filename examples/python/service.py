#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Offers what listens on port 8080 in a VPC to another account: a network load
balancer, an endpoint service that asks for acceptance, a permission.

service.py up ACCOUNT | accept | down
"""

import sys

from common import client, delete_network, network, tagged, tags, where

PROJECT = "example-service"


def up(consumer):
    ec2, elb = client("ec2"), client("elbv2")
    vpc, subnets = network(ec2, PROJECT)
    balancer = elb.create_load_balancer(Name=PROJECT, Type="network", Scheme="internal", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    # Register what should answer: elb.register_targets.
    targets = elb.create_target_group(Name=PROJECT, Protocol="TCP", Port=8080, VpcId=vpc, TargetType="ip")["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(LoadBalancerArn=balancer, Protocol="TCP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": targets}])
    elb.get_waiter("load_balancer_available").wait(LoadBalancerArns=[balancer])
    service = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer], AcceptanceRequired=True, TagSpecifications=tags("vpc-endpoint-service", PROJECT)
    )["ServiceConfiguration"]
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=service["ServiceId"], AddAllowedPrincipals=[f"arn:aws:iam::{consumer}:root"])
    print("service", service["ServiceName"])


def services(ec2):
    found = ec2.describe_vpc_endpoint_service_configurations(Filters=tagged(PROJECT))["ServiceConfigurations"]
    return [s["ServiceId"] for s in found]


def connected(ec2, service, *states):
    filters = where("service-id", service) + where("vpc-endpoint-state", *states)
    return [c["VpcEndpointId"] for c in ec2.describe_vpc_endpoint_connections(Filters=filters)["VpcEndpointConnections"]]


def accept():
    ec2 = client("ec2")
    for service in services(ec2):
        if waiting := connected(ec2, service, "pendingAcceptance"):
            ec2.accept_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=waiting)
            print("accepted", *waiting)


def down():
    ec2, elb = client("ec2"), client("elbv2")
    for service in services(ec2):
        if endpoints := connected(ec2, service, "pendingAcceptance", "pending", "available"):
            ec2.reject_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=endpoints)
        failed = ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service])["Unsuccessful"]
        if failed:
            sys.exit(failed[0]["Error"]["Message"])
    for balancer in elb.describe_load_balancers()["LoadBalancers"]:
        if balancer["LoadBalancerName"] == PROJECT:
            elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
            elb.get_waiter("load_balancers_deleted").wait(LoadBalancerArns=[balancer["LoadBalancerArn"]])
    for targets in elb.describe_target_groups()["TargetGroups"]:
        if targets["TargetGroupName"] == PROJECT:
            elb.delete_target_group(TargetGroupArn=targets["TargetGroupArn"])
    delete_network(ec2, PROJECT)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up", consumer]:
            up(consumer)
        case ["accept"]:
            accept()
        case ["down"]:
            down()
        case _:
            sys.exit(__doc__)
