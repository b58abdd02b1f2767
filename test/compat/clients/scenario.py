#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The scenario of checks.txt with boto3."""

import time

from common import client, ok, refused


def becomes(want, ask):
    """Ask until the answer is the one wanted, a minute at most."""
    end = time.monotonic() + 60
    while (got := ask()) != want:
        assert time.monotonic() < end, f"want {want} within a minute, got {got}"
        time.sleep(0.05)


def filters(**values):
    return [{"Name": k.replace("_", "-"), "Values": v} for k, v in values.items()]


consumer, provider = client("consumer", "ec2"), client("provider", "ec2")
elb = client("provider", "elbv2")

# --- two accounts and their networks

c_account = client("consumer", "sts").get_caller_identity()["Account"]
p_account = client("provider", "sts").get_caller_identity()["Account"]
assert len(c_account) == len(p_account) == 12 and c_account != p_account
ok("identity")

zones = [z["ZoneName"] for z in consumer.describe_availability_zones()["AvailabilityZones"] if z["State"] == "available"]
zone_a, zone_b = zones[:2]
ok("zones")

c_vpc = consumer.create_vpc(
    CidrBlock="10.0.0.0/16",
    TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "consumer"}]}],
)["Vpc"]["VpcId"]
p_vpc = provider.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
consumer.get_waiter("vpc_available").wait(VpcIds=[c_vpc])
vpc = consumer.describe_vpcs(VpcIds=[c_vpc])["Vpcs"][0]
assert vpc["CidrBlock"] == "10.0.0.0/16" and vpc["Tags"] == [{"Key": "Name", "Value": "consumer"}], vpc
ok("vpcs")

refused("DryRunOperation", consumer.create_vpc, CidrBlock="10.9.0.0/16", DryRun=True)
assert len(consumer.describe_vpcs(Filters=filters(is_default=["false"]))["Vpcs"]) == 1
ok("dry-run")

consumer.modify_vpc_attribute(VpcId=c_vpc, EnableDnsHostnames={"Value": True})
assert consumer.describe_vpc_attribute(VpcId=c_vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"] is True
ok("vpc-attributes")


def subnet(ec2, vpc_id, cidr, zone):
    return ec2.create_subnet(VpcId=vpc_id, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]["SubnetId"]


c_subnets = [subnet(consumer, c_vpc, "10.0.1.0/24", zone_a), subnet(consumer, c_vpc, "10.0.2.0/24", zone_b)]
p_subnets = [subnet(provider, p_vpc, "10.0.1.0/24", zone_a), subnet(provider, p_vpc, "10.0.2.0/24", zone_b)]
consumer.get_waiter("subnet_available").wait(SubnetIds=c_subnets)
ok("subnets")

refused("InvalidSubnet.Conflict", consumer.create_subnet, VpcId=c_vpc, CidrBlock="10.0.1.128/25")
ok("subnet-conflict")
refused("InvalidVpcID.NotFound", consumer.describe_vpcs, VpcIds=["vpc-0123456789abcdef0"])
ok("unknown-vpc")

# --- the provider offers a service

lb = elb.create_load_balancer(Name="compat", Type="network", Scheme="internal", Subnets=p_subnets)["LoadBalancers"][0]["LoadBalancerArn"]
elb.get_waiter("load_balancer_available").wait(LoadBalancerArns=[lb])
ok("balancer")
target_group = elb.create_target_group(Name="compat", Protocol="TCP", Port=8080, VpcId=p_vpc, TargetType="ip")["TargetGroups"][0]["TargetGroupArn"]
assert elb.describe_target_groups(Names=["compat"])["TargetGroups"][0]["Port"] == 8080
ok("target-group")
elb.create_listener(LoadBalancerArn=lb, Protocol="TCP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}])
assert elb.describe_listeners(LoadBalancerArn=lb)["Listeners"][0]["Port"] == 80
ok("listener")

service = provider.create_vpc_endpoint_service_configuration(AcceptanceRequired=True, NetworkLoadBalancerArns=[lb])["ServiceConfiguration"]
service_id, service_name = service["ServiceId"], service["ServiceName"]
configurations = provider.describe_vpc_endpoint_service_configurations(ServiceIds=[service_id])["ServiceConfigurations"]
assert configurations[0]["ServiceState"] == "Available", configurations
ok("service")
refused("InvalidServiceName", consumer.describe_vpc_endpoint_services, ServiceNames=[service_name])
ok("service-hidden")
provider.modify_vpc_endpoint_service_permissions(ServiceId=service_id, AddAllowedPrincipals=[f"arn:aws:iam::{c_account}:root"])
offer = consumer.describe_vpc_endpoint_services(ServiceNames=[service_name])["ServiceDetails"][0]
assert offer["Owner"] == p_account and offer["ServiceType"] == [{"ServiceType": "Interface"}] and offer["AcceptanceRequired"] is True, offer
ok("service-offered")

# --- the consumer's interface endpoint

group = consumer.create_security_group(VpcId=c_vpc, GroupName="endpoint", Description="the endpoint")["GroupId"]
from_range = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
from_itself = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": group}]}
consumer.authorize_security_group_ingress(GroupId=group, IpPermissions=[from_range, from_itself])
rules = consumer.describe_security_group_rules(Filters=filters(group_id=[group]))["SecurityGroupRules"]
assert sorted(r["FromPort"] for r in rules if not r["IsEgress"]) == [80, 443], rules
ok("group")
refused("InvalidGroup.Duplicate", consumer.create_security_group, VpcId=c_vpc, GroupName="endpoint", Description="again")
ok("group-duplicate")
refused("InvalidPermission.Duplicate", consumer.authorize_security_group_ingress, GroupId=group, IpPermissions=[from_range])
ok("rule-duplicate")

created = consumer.create_vpc_endpoint(
    VpcEndpointType="Interface", VpcId=c_vpc, ServiceName=service_name, SubnetIds=c_subnets, SecurityGroupIds=[group], PrivateDnsEnabled=False
)["VpcEndpoint"]
endpoint = created["VpcEndpointId"]
assert created["State"] == "pendingAcceptance", created
ok("endpoint")
connections = provider.describe_vpc_endpoint_connections(
    Filters=filters(service_id=[service_id], vpc_endpoint_state=["pendingAcceptance"])
)["VpcEndpointConnections"]
assert [(c["VpcEndpointId"], c["VpcEndpointOwner"]) for c in connections] == [(endpoint, c_account)], connections
ok("connection")


def described(endpoint_id):
    return consumer.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"][0]


def state():
    return described(endpoint)["State"]


assert provider.accept_vpc_endpoint_connections(ServiceId=service_id, VpcEndpointIds=[endpoint])["Unsuccessful"] == []
becomes("available", state)
ok("accepted")

names = [d["DnsName"] for d in described(endpoint)["DnsEntries"]]
assert len(names) == 3 and all(n.startswith(endpoint + "-") and n.endswith(f".{service_id}.us-east-1.vpce.amazonaws.com") for n in names), names
assert sum(f"-{z}." in n for n in names for z in (zone_a, zone_b)) == 2, names
ok("dns-entries")


def interfaces():
    return consumer.describe_network_interfaces(Filters=filters(vpc_id=[c_vpc], interface_type=["vpc_endpoint"]))["NetworkInterfaces"]


def interface_subnets():
    return sorted(i["SubnetId"] for i in interfaces())


assert interface_subnets() == sorted(c_subnets)
for i in interfaces():
    assert i["Status"] == "in-use" and i["RequesterManaged"] and [g["GroupId"] for g in i["Groups"]] == [group], i
ok("interfaces")
refused("InvalidVpcEndpointId.NotFound", provider.describe_vpc_endpoints, VpcEndpointIds=[endpoint])
ok("foreign-endpoint")

# --- the consumer's gateway endpoint

s3 = "com.amazonaws.us-east-1.s3"
table = consumer.describe_route_tables(Filters=[*filters(vpc_id=[c_vpc]), {"Name": "association.main", "Values": ["true"]}])["RouteTables"][0]["RouteTableId"]
gateway = consumer.create_vpc_endpoint(
    VpcEndpointType="Gateway", VpcId=c_vpc, ServiceName=s3, RouteTableIds=[table],
    PolicyDocument='{"Version":"2012-10-17","Statement":[{"Sid":"ReadOnly","Effect":"Allow","Principal":"*","Action":"s3:Get*","Resource":"*"}]}',
    TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "Name", "Value": "s3"}]}],
)["VpcEndpoint"]["VpcEndpointId"]
becomes("available", lambda: described(gateway)["State"])
assert "ReadOnly" in described(gateway)["PolicyDocument"]
ok("gateway")
routes = consumer.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
[prefix_list] = [r["DestinationPrefixListId"] for r in routes if r.get("GatewayId") == gateway]
assert prefix_list.startswith("pl-")
ok("gateway-route")
refused("RouteAlreadyExists", consumer.create_vpc_endpoint, VpcId=c_vpc, ServiceName=s3, RouteTableIds=[table])
ok("gateway-duplicate")
[by_id] = consumer.describe_prefix_lists(PrefixListIds=[prefix_list])["PrefixLists"]
[by_name] = consumer.describe_prefix_lists(Filters=filters(prefix_list_name=[s3]))["PrefixLists"]
assert by_id == by_name and by_id["PrefixListName"] == s3 and by_id["Cidrs"], by_id
ok("prefix-list")


def endpoints(**values):
    found = consumer.describe_vpc_endpoints(Filters=filters(**values))["VpcEndpoints"]
    return sorted(e["VpcEndpointId"] for e in found)


assert endpoints(vpc_id=[c_vpc], vpc_endpoint_type=["Interface"]) == [endpoint]
assert endpoints(vpc_endpoint_state=["available", "pending"]) == sorted([endpoint, gateway])
assert endpoints(service_name=["nothing"]) == []
ok("filters")
pages = list(consumer.get_paginator("describe_vpc_endpoints").paginate(PaginationConfig={"PageSize": 1}))
assert [len(p["VpcEndpoints"]) for p in pages] == [1, 1], pages
assert sorted(p["VpcEndpoints"][0]["VpcEndpointId"] for p in pages) == sorted([endpoint, gateway])
ok("paging")

consumer.create_tags(Resources=[endpoint], Tags=[{"Key": "team", "Value": "orders"}])
assert endpoints(**{"tag:team": ["orders"]}) == [endpoint]
ok("tags-added")
consumer.delete_tags(Resources=[endpoint], Tags=[{"Key": "team"}])
assert endpoints(**{"tag:team": ["orders"]}) == []
ok("tags-removed")

consumer.modify_vpc_endpoint(
    VpcEndpointId=gateway,
    PolicyDocument='{"Version":"2012-10-17","Statement":[{"Sid":"OneBucket","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::one/*"}]}',
)
assert "OneBucket" in described(gateway)["PolicyDocument"]
consumer.modify_vpc_endpoint(VpcEndpointId=gateway, ResetPolicy=True)
assert "OneBucket" not in described(gateway)["PolicyDocument"]
ok("policy")
assert consumer.modify_vpc_endpoint(VpcEndpointId=endpoint, RemoveSubnetIds=c_subnets[1:])["Return"] is True
becomes("available", state)
assert interface_subnets() == c_subnets[:1]
consumer.modify_vpc_endpoint(VpcEndpointId=endpoint, AddSubnetIds=c_subnets[1:])
becomes("available", state)
assert interface_subnets() == sorted(c_subnets)
ok("subnets-modified")
found = consumer.describe_security_groups(Filters=filters(vpc_id=[c_vpc], group_name=["default"]))["SecurityGroups"]
default_group = found[0]["GroupId"]


def groups():
    return sorted(g["GroupId"] for g in described(endpoint)["Groups"])


consumer.modify_vpc_endpoint(VpcEndpointId=endpoint, AddSecurityGroupIds=[default_group])
assert groups() == sorted([group, default_group])
consumer.modify_vpc_endpoint(VpcEndpointId=endpoint, RemoveSecurityGroupIds=[default_group])
assert groups() == [group]
ok("groups-modified")

# --- what a user runs into

nobody = "vpce-0123456789abcdef0"
refused("InvalidVpcEndpointId.NotFound", consumer.modify_vpc_endpoint, VpcEndpointId=nobody, ResetPolicy=True)
ok("unknown-endpoint")
refused("InvalidVpcEndpointId.Malformed", consumer.describe_vpc_endpoints, VpcEndpointIds=["vpce-xyz"])
ok("malformed-endpoint")


def failures(answer):
    return [(u["ResourceId"], u["Error"]["Code"]) for u in answer["Unsuccessful"]]


assert failures(consumer.delete_vpc_endpoints(VpcEndpointIds=[nobody])) == [(nobody, "InvalidVpcEndpoint.NotFound")]
ok("delete-unknown")
refused("DependencyViolation", consumer.delete_vpc, VpcId=c_vpc)
ok("vpc-in-use")
refused("DependencyViolation", consumer.delete_subnet, SubnetId=c_subnets[0])
ok("subnet-in-use")
refused("DependencyViolation", consumer.delete_security_group, GroupId=group)
ok("group-in-use")
refused("ResourceInUse", elb.delete_load_balancer, LoadBalancerArn=lb)
ok("balancer-in-use")
answer = provider.delete_vpc_endpoint_service_configurations(ServiceIds=[service_id])
assert failures(answer) == [(service_id, "ExistingVpcEndpointConnections")], answer
ok("service-in-use")
provider.reject_vpc_endpoint_connections(ServiceId=service_id, VpcEndpointIds=[endpoint])
becomes("rejected", state)
ok("rejected")

# --- everything is deleted

assert failures(consumer.delete_vpc_endpoints(VpcEndpointIds=[endpoint, gateway])) == []
becomes([], endpoints)
becomes([], interfaces)
ok("endpoints-deleted")
assert failures(provider.delete_vpc_endpoint_service_configurations(ServiceIds=[service_id])) == []
refused("InvalidVpcEndpointServiceId.NotFound", provider.describe_vpc_endpoint_service_configurations, ServiceIds=[service_id])
ok("service-deleted")
elb.delete_load_balancer(LoadBalancerArn=lb)
elb.get_waiter("load_balancers_deleted").wait(LoadBalancerArns=[lb])
elb.delete_target_group(TargetGroupArn=target_group)
try:
    elb.describe_target_groups(TargetGroupArns=[target_group])
    raise AssertionError("the target group is still there")
except elb.exceptions.TargetGroupNotFoundException:
    pass  # the exception's class is what programs catch; its code is TargetGroupNotFound
ok("balancer-deleted")
consumer.delete_security_group(GroupId=group)
for s in c_subnets:
    consumer.delete_subnet(SubnetId=s)
for s in p_subnets:
    provider.delete_subnet(SubnetId=s)
consumer.delete_vpc(VpcId=c_vpc)
provider.delete_vpc(VpcId=p_vpc)
refused("InvalidVpcID.NotFound", consumer.describe_vpcs, VpcIds=[c_vpc])
refused("InvalidGroup.NotFound", consumer.describe_security_groups, GroupIds=[group])
refused("InvalidSubnetID.NotFound", consumer.describe_subnets, SubnetIds=c_subnets[:1])
ok("all-gone")
