#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Route 53 Resolver with boto3."""

from common import client, ok, refused

ec2, resolver, provider = client("consumer", "ec2"), client("consumer", "route53resolver"), client("provider", "route53resolver")
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnet_a, subnet_b = (
    ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"] for n, zone in ((1, "us-east-1a"), (2, "us-east-1b"))
)
group = ec2.create_security_group(VpcId=vpc, GroupName="dns", Description="dns")["GroupId"]


def new_endpoint(direction):
    return resolver.create_resolver_endpoint(
        CreatorRequestId=direction, Name=direction, Direction=direction, SecurityGroupIds=[group],
        IpAddresses=[{"SubnetId": subnet_a, "Ip": "10.0.1.53"}, {"SubnetId": subnet_b}], Tags=[{"Key": "team", "Value": "red"}],
    )["ResolverEndpoint"]["Id"]


inbound = new_endpoint("INBOUND")
assert new_endpoint("INBOUND") == inbound
e = resolver.get_resolver_endpoint(ResolverEndpointId=inbound)["ResolverEndpoint"]
assert (e["Direction"], e["Status"], e["IpAddressCount"], e["HostVPCId"], e["SecurityGroupIds"]) == ("INBOUND", "OPERATIONAL", 2, vpc, [group]), e
ok("inbound")
for n in ec2.describe_network_interfaces()["NetworkInterfaces"]:
    assert n["RequesterManaged"] and n["InterfaceType"] == "interface" and n["Description"].startswith(f"Route 53 Resolver: {inbound}:rni-"), n
    refused("OperationNotPermitted", ec2.delete_network_interface, NetworkInterfaceId=n["NetworkInterfaceId"])
ok("interfaces")
refused(
    "InvalidRequestException", resolver.create_resolver_endpoint, CreatorRequestId="taken", Direction="INBOUND", SecurityGroupIds=[group],
    IpAddresses=[{"SubnetId": subnet_a, "Ip": "10.0.1.53"}, {"SubnetId": subnet_b}],
)
ok("address-in-use")
resolver.associate_resolver_endpoint_ip_address(ResolverEndpointId=inbound, IpAddress={"SubnetId": subnet_a, "Ip": "10.0.1.54"})
pages = resolver.get_paginator("list_resolver_endpoint_ip_addresses").paginate(ResolverEndpointId=inbound, PaginationConfig={"PageSize": 1})
assert sorted(a["Ip"] for page in pages for a in page["IpAddresses"]) == ["10.0.1.53", "10.0.1.54", "10.0.2.4"]
ok("paging")
resolver.disassociate_resolver_endpoint_ip_address(ResolverEndpointId=inbound, IpAddress={"SubnetId": subnet_a, "Ip": "10.0.1.53"})
refused("InvalidRequestException", resolver.disassociate_resolver_endpoint_ip_address, ResolverEndpointId=inbound, IpAddress={"SubnetId": subnet_a, "Ip": "10.0.1.54"})
ok("addresses")
resolver.tag_resource(ResourceArn=e["Arn"], Tags=[{"Key": "env", "Value": "test"}])
resolver.untag_resource(ResourceArn=e["Arn"], TagKeys=["team"])
assert resolver.list_tags_for_resource(ResourceArn=e["Arn"])["Tags"] == [{"Key": "env", "Value": "test"}]
ok("tags")

outbound = new_endpoint("OUTBOUND")
found = resolver.list_resolver_endpoints(Filters=[{"Name": "Direction", "Values": ["OUTBOUND"]}])["ResolverEndpoints"]
assert [x["Id"] for x in found] == [outbound]
ok("outbound")
targets = [{"Ip": "192.0.2.53", "Port": 53}, {"Ip": "192.0.2.54", "Port": 5353}]
forward = dict(RuleType="FORWARD", DomainName="corp.example", ResolverEndpointId=outbound, TargetIps=targets)
r = resolver.create_resolver_rule(CreatorRequestId="r", **forward)["ResolverRule"]
assert (r["DomainName"], r["RuleType"], r["Status"], [t["Port"] for t in r["TargetIps"]]) == ("corp.example.", "FORWARD", "COMPLETE", [53, 5353]), r
rule = r["Id"]
system = resolver.create_resolver_rule(CreatorRequestId="s", RuleType="SYSTEM", DomainName="aws.corp.example")["ResolverRule"]["Id"]
assert resolver.get_resolver_rule(ResolverRuleId="rslvr-autodefined-rr-internet-resolver")["ResolverRule"]["RuleType"] == "RECURSIVE"
resolver.update_resolver_rule(ResolverRuleId=rule, Config={"Name": "corp"})
ok("rules")
refused("InvalidRequestException", resolver.create_resolver_rule, CreatorRequestId="d", **{**forward, "TargetIps": [{"Ip": "10.0.1.9", "Port": 53}]})
ok("target-inside")
for x in (rule, system):
    resolver.associate_resolver_rule(ResolverRuleId=x, VPCId=vpc)
refused("InvalidRequestException", resolver.associate_resolver_rule, ResolverRuleId=rule, VPCId=vpc)
found = resolver.list_resolver_rule_associations(Filters=[{"Name": "VPCId", "Values": [vpc]}])["ResolverRuleAssociations"]
assert {x["ResolverRuleId"] for x in found} == {rule, system, "rslvr-autodefined-rr-internet-resolver"}, found
ok("associations")
refused("ResourceInUseException", resolver.delete_resolver_rule, ResolverRuleId=rule)
refused("InvalidRequestException", resolver.delete_resolver_endpoint, ResolverEndpointId=outbound)
ok("in-use")
refused("ResourceNotFoundException", provider.get_resolver_endpoint, ResolverEndpointId=inbound)
refused("ResourceNotFoundException", provider.get_resolver_rule, ResolverRuleId=rule)
ok("foreign")

for x in (rule, system):
    resolver.disassociate_resolver_rule(ResolverRuleId=x, VPCId=vpc)
    resolver.delete_resolver_rule(ResolverRuleId=x)
for x in (inbound, outbound):
    resolver.delete_resolver_endpoint(ResolverEndpointId=x)
refused("ResourceNotFoundException", resolver.get_resolver_endpoint, ResolverEndpointId=inbound)
assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
ok("deleted")
