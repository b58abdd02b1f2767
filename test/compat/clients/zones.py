#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Private hosted zones with boto3: each line "ok NAME" is something found out."""

from common import client, ok, refused

dns, other = client("consumer", "route53"), client("provider", "route53")
mine = client("consumer", "ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
theirs = client("provider", "ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
vpc = {"VPCRegion": "us-east-1", "VPCId": mine}

made = dns.create_hosted_zone(Name="corp.example", CallerReference="one", VPC=vpc, HostedZoneConfig={"Comment": "ours"})
zone = made["HostedZone"]["Id"]
assert made["ResponseMetadata"]["HTTPStatusCode"] == 201 and made["HostedZone"]["Config"]["PrivateZone"] and made["VPC"] == vpc, made
assert zone.startswith("/hostedzone/Z") and made["ChangeInfo"]["Status"] == "PENDING", made
dns.get_waiter("resource_record_sets_changed").wait(Id=made["ChangeInfo"]["Id"])
ok("zone")

assert "VPC" in refused("InvalidInput", dns.create_hosted_zone, Name="a.example", CallerReference="two")
refused("HostedZoneAlreadyExists", dns.create_hosted_zone, Name="b.example", CallerReference="one", VPC=vpc)
refused("ConflictingDomainExists", dns.create_hosted_zone, Name="corp.example.", CallerReference="three", VPC=vpc)
ok("zone-refused")


def change(*changes):
    batch = [{"Action": a, "ResourceRecordSet": r} for a, r in changes]
    return dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": batch, "Comment": "a batch"})


def records(name, kind, *values, ttl=60):
    return {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": v} for v in values]}


www = records("www.corp.example", "A", "10.0.0.1", "10.0.0.2")
target = {"HostedZoneId": zone.split("/")[-1], "DNSName": "www.corp.example", "EvaluateTargetHealth": False}
info = change(("CREATE", www), ("UPSERT", records("*.corp.example", "TXT", '"a b"')), ("CREATE", {"Name": "corp.example", "Type": "A", "AliasTarget": target}))
assert dns.get_change(Id=info["ChangeInfo"]["Id"])["ChangeInfo"]["Comment"] == "a batch"
sets = [r for page in dns.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone, PaginationConfig={"PageSize": 2}) for r in page["ResourceRecordSets"]]
assert [(r["Name"], r["Type"]) for r in sets] == [
    ("corp.example.", "A"), ("corp.example.", "NS"), ("corp.example.", "SOA"), ("\\052.corp.example.", "TXT"), ("www.corp.example.", "A")], sets
assert sets[0]["AliasTarget"]["DNSName"] == "www.corp.example." and sets[4]["ResourceRecords"] == www["ResourceRecords"], sets
ok("records")

message = refused("InvalidChangeBatch", lambda: change(("CREATE", records("new.corp.example", "A", "10.0.0.1")), ("CREATE", www)))
assert message == "[Tried to create resource record set [name='www.corp.example.', type='A'] but it already exists]", message
assert dns.get_hosted_zone(Id=zone)["HostedZone"]["ResourceRecordSetCount"] == 5
refused("InvalidInput", lambda: change(("CREATE", records("w.corp.example", "A", "10.0.0.1") | {"SetIdentifier": "x", "Weight": 1})))
ok("records-refused")

refused("NotAuthorizedException", other.associate_vpc_with_hosted_zone, HostedZoneId=zone, VPC=vpc | {"VPCId": theirs})
dns.create_vpc_association_authorization(HostedZoneId=zone, VPC=vpc | {"VPCId": theirs})
other.associate_vpc_with_hosted_zone(HostedZoneId=zone, VPC=vpc | {"VPCId": theirs})
assert [z["HostedZoneId"] for z in other.list_hosted_zones_by_vpc(VPCId=theirs, VPCRegion="us-east-1")["HostedZoneSummaries"]] == [zone.split("/")[-1]]
assert [v["VPCId"] for v in dns.list_vpc_association_authorizations(HostedZoneId=zone)["VPCs"]] == [theirs]
dns.delete_vpc_association_authorization(HostedZoneId=zone, VPC=vpc | {"VPCId": theirs})
assert [v["VPCId"] for v in dns.get_hosted_zone(Id=zone)["VPCs"]] == [mine, theirs]
other.disassociate_vpc_from_hosted_zone(HostedZoneId=zone, VPC=vpc | {"VPCId": theirs})
refused("LastVPCAssociation", dns.disassociate_vpc_from_hosted_zone, HostedZoneId=zone, VPC=vpc)
ok("associations")

dns.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone.split("/")[-1], AddTags=[{"Key": "team", "Value": "dns"}])
assert dns.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone.split("/")[-1])["ResourceTagSet"]["Tags"] == [{"Key": "team", "Value": "dns"}]
ok("tags")

assert [z["Name"] for z in dns.list_hosted_zones()["HostedZones"]] == [z["Name"] for z in dns.list_hosted_zones_by_name()["HostedZones"]] == ["corp.example."]
assert dns.get_hosted_zone_count()["HostedZoneCount"] == 1 and other.get_hosted_zone_count()["HostedZoneCount"] == 0
ok("lists")

refused("HostedZoneNotEmpty", dns.delete_hosted_zone, Id=zone)
change(*[("DELETE", r) for r in sets if r["Type"] not in ("NS", "SOA")])
dns.delete_hosted_zone(Id=zone)
refused("NoSuchHostedZone", dns.get_hosted_zone, Id=zone)
ok("all-gone")
