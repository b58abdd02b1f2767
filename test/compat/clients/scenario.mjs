// SPDX-License-Identifier: Apache-2.0
// The scenario of checks.txt with the AWS SDK for JavaScript. It finds the API
// by $AWS_ENDPOINT_URL itself; the profiles consumer and provider are the two
// accounts.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { EC2, paginateDescribeVpcEndpoints, waitUntilSubnetAvailable, waitUntilVpcAvailable } from "@aws-sdk/client-ec2";
import {
  ElasticLoadBalancingV2,
  TargetGroupNotFoundException,
  waitUntilLoadBalancerAvailable,
  waitUntilLoadBalancersDeleted,
} from "@aws-sdk/client-elastic-load-balancing-v2";
import { STS } from "@aws-sdk/client-sts";

const consumer = new EC2({ profile: "consumer" });
const provider = new EC2({ profile: "provider" });
const elb = new ElasticLoadBalancingV2({ profile: "provider" });
const within = (client) => ({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 });

const ok = (check) => console.log("ok", check);
const filters = (values) => Object.entries(values).map(([Name, Values]) => ({ Name, Values }));

// refused wants the call to fail with AWS's code, which is the error's name.
const refused = (code, call) => assert.rejects(call, (e) => e.name === code || assert.fail(`want ${code}, got ${e.name}: ${e.message}`));

// becomes asks until the answer is the one wanted, a minute at most.
async function becomes(want, ask) {
  for (const end = Date.now() + 60_000; ; await pause(50)) {
    const got = await ask();
    if (JSON.stringify(got) === JSON.stringify(want)) return;
    assert.ok(Date.now() < end, `want ${JSON.stringify(want)} within a minute, got ${JSON.stringify(got)}`);
  }
}

// --- two accounts and their networks

const cAccount = (await new STS({ profile: "consumer" }).getCallerIdentity({})).Account;
const pAccount = (await new STS({ profile: "provider" }).getCallerIdentity({})).Account;
assert.match(cAccount, /^\d{12}$/);
assert.match(pAccount, /^\d{12}$/);
assert.notEqual(cAccount, pAccount);
ok("identity");

const zones = (await consumer.describeAvailabilityZones({})).AvailabilityZones.filter((z) => z.State === "available");
const [zoneA, zoneB] = zones.map((z) => z.ZoneName);
assert.ok(zoneA && zoneB);
ok("zones");

const cVpc = (
  await consumer.createVpc({
    CidrBlock: "10.0.0.0/16",
    TagSpecifications: [{ ResourceType: "vpc", Tags: [{ Key: "Name", Value: "consumer" }] }],
  })
).Vpc.VpcId;
const pVpc = (await provider.createVpc({ CidrBlock: "10.0.0.0/16" })).Vpc.VpcId;
await waitUntilVpcAvailable(within(consumer), { VpcIds: [cVpc] });
const vpc = (await consumer.describeVpcs({ VpcIds: [cVpc] })).Vpcs[0];
assert.equal(vpc.CidrBlock, "10.0.0.0/16");
assert.deepEqual(vpc.Tags, [{ Key: "Name", Value: "consumer" }]);
ok("vpcs");

await refused("DryRunOperation", consumer.createVpc({ CidrBlock: "10.9.0.0/16", DryRun: true }));
assert.equal((await consumer.describeVpcs({ Filters: filters({ "is-default": ["false"] }) })).Vpcs.length, 1);
ok("dry-run");

await consumer.modifyVpcAttribute({ VpcId: cVpc, EnableDnsHostnames: { Value: true } });
const attribute = await consumer.describeVpcAttribute({ VpcId: cVpc, Attribute: "enableDnsHostnames" });
assert.equal(attribute.EnableDnsHostnames.Value, true);
ok("vpc-attributes");

const subnet = async (ec2, VpcId, CidrBlock, AvailabilityZone) =>
  (await ec2.createSubnet({ VpcId, CidrBlock, AvailabilityZone })).Subnet.SubnetId;
const cSubnets = [await subnet(consumer, cVpc, "10.0.1.0/24", zoneA), await subnet(consumer, cVpc, "10.0.2.0/24", zoneB)];
const pSubnets = [await subnet(provider, pVpc, "10.0.1.0/24", zoneA), await subnet(provider, pVpc, "10.0.2.0/24", zoneB)];
await waitUntilSubnetAvailable(within(consumer), { SubnetIds: cSubnets });
ok("subnets");

await refused("InvalidSubnet.Conflict", consumer.createSubnet({ VpcId: cVpc, CidrBlock: "10.0.1.128/25" }));
ok("subnet-conflict");
await refused("InvalidVpcID.NotFound", consumer.describeVpcs({ VpcIds: ["vpc-0123456789abcdef0"] }));
ok("unknown-vpc");

// --- the provider offers a service

const lb = (await elb.createLoadBalancer({ Name: "compat", Type: "network", Scheme: "internal", Subnets: pSubnets })).LoadBalancers[0]
  .LoadBalancerArn;
await waitUntilLoadBalancerAvailable(within(elb), { LoadBalancerArns: [lb] });
ok("balancer");
const targetGroup = (await elb.createTargetGroup({ Name: "compat", Protocol: "TCP", Port: 8080, VpcId: pVpc, TargetType: "ip" }))
  .TargetGroups[0].TargetGroupArn;
assert.equal((await elb.describeTargetGroups({ Names: ["compat"] })).TargetGroups[0].Port, 8080);
ok("target-group");
await elb.createListener({
  LoadBalancerArn: lb,
  Protocol: "TCP",
  Port: 80,
  DefaultActions: [{ Type: "forward", TargetGroupArn: targetGroup }],
});
assert.equal((await elb.describeListeners({ LoadBalancerArn: lb })).Listeners[0].Port, 80);
ok("listener");

const { ServiceId, ServiceName } = (
  await provider.createVpcEndpointServiceConfiguration({ AcceptanceRequired: true, NetworkLoadBalancerArns: [lb] })
).ServiceConfiguration;
const configurations = await provider.describeVpcEndpointServiceConfigurations({ ServiceIds: [ServiceId] });
assert.equal(configurations.ServiceConfigurations[0].ServiceState, "Available");
ok("service");
await refused("InvalidServiceName", consumer.describeVpcEndpointServices({ ServiceNames: [ServiceName] }));
ok("service-hidden");
await provider.modifyVpcEndpointServicePermissions({ ServiceId, AddAllowedPrincipals: [`arn:aws:iam::${cAccount}:root`] });
const offer = (await consumer.describeVpcEndpointServices({ ServiceNames: [ServiceName] })).ServiceDetails[0];
assert.equal(offer.Owner, pAccount);
assert.deepEqual(offer.ServiceType, [{ ServiceType: "Interface" }]);
assert.equal(offer.AcceptanceRequired, true);
ok("service-offered");

// --- the consumer's interface endpoint

const group = (await consumer.createSecurityGroup({ VpcId: cVpc, GroupName: "endpoint", Description: "the endpoint" })).GroupId;
const fromRange = { IpProtocol: "tcp", FromPort: 80, ToPort: 80, IpRanges: [{ CidrIp: "10.0.0.0/16" }] };
const fromItself = { IpProtocol: "tcp", FromPort: 443, ToPort: 443, UserIdGroupPairs: [{ GroupId: group }] };
await consumer.authorizeSecurityGroupIngress({ GroupId: group, IpPermissions: [fromRange, fromItself] });
const rules = (await consumer.describeSecurityGroupRules({ Filters: filters({ "group-id": [group] }) })).SecurityGroupRules;
assert.deepEqual(rules.filter((r) => !r.IsEgress).map((r) => r.FromPort).sort((a, b) => a - b), [80, 443]);
ok("group");
await refused("InvalidGroup.Duplicate", consumer.createSecurityGroup({ VpcId: cVpc, GroupName: "endpoint", Description: "again" }));
ok("group-duplicate");
await refused("InvalidPermission.Duplicate", consumer.authorizeSecurityGroupIngress({ GroupId: group, IpPermissions: [fromRange] }));
ok("rule-duplicate");

const created = (
  await consumer.createVpcEndpoint({
    VpcEndpointType: "Interface",
    VpcId: cVpc,
    ServiceName,
    SubnetIds: cSubnets,
    SecurityGroupIds: [group],
    PrivateDnsEnabled: false,
  })
).VpcEndpoint;
const endpoint = created.VpcEndpointId;
// The SDK's constants begin with a capital (State.PendingAcceptance is
// "PendingAcceptance"); the service answers like this.
assert.equal(created.State, "pendingAcceptance");
ok("endpoint");
const connections = (
  await provider.describeVpcEndpointConnections({
    Filters: filters({ "service-id": [ServiceId], "vpc-endpoint-state": ["pendingAcceptance"] }),
  })
).VpcEndpointConnections;
assert.deepEqual(connections.map((c) => [c.VpcEndpointId, c.VpcEndpointOwner]), [[endpoint, cAccount]]);
ok("connection");

const described = async (id) => (await consumer.describeVpcEndpoints({ VpcEndpointIds: [id] })).VpcEndpoints[0];
const state = async () => (await described(endpoint)).State;
const accepted = await provider.acceptVpcEndpointConnections({ ServiceId, VpcEndpointIds: [endpoint] });
assert.deepEqual(accepted.Unsuccessful, []);
await becomes("available", state);
ok("accepted");

const names = (await described(endpoint)).DnsEntries.map((d) => d.DnsName);
assert.equal(names.length, 3);
for (const n of names) assert.ok(n.startsWith(`${endpoint}-`) && n.endsWith(`.${ServiceId}.us-east-1.vpce.amazonaws.com`), n);
for (const z of [zoneA, zoneB]) assert.equal(names.filter((n) => n.includes(`-${z}.`)).length, 1);
ok("dns-entries");

const interfaces = async () =>
  (await consumer.describeNetworkInterfaces({ Filters: filters({ "vpc-id": [cVpc], "interface-type": ["vpc_endpoint"] }) }))
    .NetworkInterfaces;
const interfaceSubnets = async () => (await interfaces()).map((i) => i.SubnetId).sort();
assert.deepEqual(await interfaceSubnets(), [...cSubnets].sort());
for (const i of await interfaces()) {
  assert.equal(i.Status, "in-use");
  assert.equal(i.RequesterManaged, true);
  assert.deepEqual(i.Groups.map((g) => g.GroupId), [group]);
}
ok("interfaces");
await refused("InvalidVpcEndpointId.NotFound", provider.describeVpcEndpoints({ VpcEndpointIds: [endpoint] }));
ok("foreign-endpoint");

// --- the consumer's gateway endpoint

const s3 = "com.amazonaws.us-east-1.s3";
const document = (statement) =>
  JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Principal: "*", ...statement }] });
const table = (await consumer.describeRouteTables({ Filters: filters({ "vpc-id": [cVpc], "association.main": ["true"] }) })).RouteTables[0]
  .RouteTableId;
const gateway = (
  await consumer.createVpcEndpoint({
    VpcEndpointType: "Gateway",
    VpcId: cVpc,
    ServiceName: s3,
    RouteTableIds: [table],
    PolicyDocument: document({ Sid: "ReadOnly", Action: "s3:Get*", Resource: "*" }),
    TagSpecifications: [{ ResourceType: "vpc-endpoint", Tags: [{ Key: "Name", Value: "s3" }] }],
  })
).VpcEndpoint.VpcEndpointId;
await becomes("available", async () => (await described(gateway)).State);
assert.match((await described(gateway)).PolicyDocument, /ReadOnly/);
ok("gateway");
const routes = (await consumer.describeRouteTables({ RouteTableIds: [table] })).RouteTables[0].Routes;
const prefixList = routes.find((r) => r.GatewayId === gateway).DestinationPrefixListId;
assert.match(prefixList, /^pl-/);
ok("gateway-route");
await refused("RouteAlreadyExists", consumer.createVpcEndpoint({ VpcId: cVpc, ServiceName: s3, RouteTableIds: [table] }));
ok("gateway-duplicate");
const byId = (await consumer.describePrefixLists({ PrefixListIds: [prefixList] })).PrefixLists;
const byName = (await consumer.describePrefixLists({ Filters: filters({ "prefix-list-name": [s3] }) })).PrefixLists;
assert.deepEqual(byId, byName);
assert.equal(byId[0].PrefixListName, s3);
assert.ok(byId[0].Cidrs.length > 0);
ok("prefix-list");

const endpoints = async (values = {}) =>
  (await consumer.describeVpcEndpoints({ Filters: filters(values) })).VpcEndpoints.map((e) => e.VpcEndpointId).sort();
const both = [endpoint, gateway].sort();
assert.deepEqual(await endpoints({ "vpc-id": [cVpc], "vpc-endpoint-type": ["Interface"] }), [endpoint]);
assert.deepEqual(await endpoints({ "vpc-endpoint-state": ["available", "pending"] }), both);
assert.deepEqual(await endpoints({ "service-name": ["nothing"] }), []);
ok("filters");
const pages = [];
for await (const page of paginateDescribeVpcEndpoints({ client: consumer, pageSize: 1 }, {})) pages.push(page.VpcEndpoints);
assert.deepEqual(pages.map((p) => p.length), [1, 1]);
assert.deepEqual(pages.flat().map((e) => e.VpcEndpointId).sort(), both);
ok("paging");

await consumer.createTags({ Resources: [endpoint], Tags: [{ Key: "team", Value: "orders" }] });
assert.deepEqual(await endpoints({ "tag:team": ["orders"] }), [endpoint]);
ok("tags-added");
await consumer.deleteTags({ Resources: [endpoint], Tags: [{ Key: "team" }] });
assert.deepEqual(await endpoints({ "tag:team": ["orders"] }), []);
ok("tags-removed");

await consumer.modifyVpcEndpoint({
  VpcEndpointId: gateway,
  PolicyDocument: document({ Sid: "OneBucket", Action: "s3:*", Resource: "arn:aws:s3:::one/*" }),
});
assert.match((await described(gateway)).PolicyDocument, /OneBucket/);
await consumer.modifyVpcEndpoint({ VpcEndpointId: gateway, ResetPolicy: true });
assert.doesNotMatch((await described(gateway)).PolicyDocument, /OneBucket/);
ok("policy");
assert.equal((await consumer.modifyVpcEndpoint({ VpcEndpointId: endpoint, RemoveSubnetIds: [cSubnets[1]] })).Return, true);
await becomes("available", state);
assert.deepEqual(await interfaceSubnets(), [cSubnets[0]]);
await consumer.modifyVpcEndpoint({ VpcEndpointId: endpoint, AddSubnetIds: [cSubnets[1]] });
await becomes("available", state);
assert.deepEqual(await interfaceSubnets(), [...cSubnets].sort());
ok("subnets-modified");
const defaultGroup = (await consumer.describeSecurityGroups({ Filters: filters({ "vpc-id": [cVpc], "group-name": ["default"] }) }))
  .SecurityGroups[0].GroupId;
const groups = async () => (await described(endpoint)).Groups.map((g) => g.GroupId).sort();
await consumer.modifyVpcEndpoint({ VpcEndpointId: endpoint, AddSecurityGroupIds: [defaultGroup] });
assert.deepEqual(await groups(), [group, defaultGroup].sort());
await consumer.modifyVpcEndpoint({ VpcEndpointId: endpoint, RemoveSecurityGroupIds: [defaultGroup] });
assert.deepEqual(await groups(), [group]);
ok("groups-modified");

// --- what a user runs into

const nobody = "vpce-0123456789abcdef0";
await refused("InvalidVpcEndpointId.NotFound", consumer.modifyVpcEndpoint({ VpcEndpointId: nobody, ResetPolicy: true }));
ok("unknown-endpoint");
await refused("InvalidVpcEndpointId.Malformed", consumer.describeVpcEndpoints({ VpcEndpointIds: ["vpce-xyz"] }));
ok("malformed-endpoint");
const failures = (answer) => answer.Unsuccessful.map((u) => [u.ResourceId, u.Error.Code]);
assert.deepEqual(failures(await consumer.deleteVpcEndpoints({ VpcEndpointIds: [nobody] })), [[nobody, "InvalidVpcEndpoint.NotFound"]]);
ok("delete-unknown");
await refused("DependencyViolation", consumer.deleteVpc({ VpcId: cVpc }));
ok("vpc-in-use");
await refused("DependencyViolation", consumer.deleteSubnet({ SubnetId: cSubnets[0] }));
ok("subnet-in-use");
await refused("DependencyViolation", consumer.deleteSecurityGroup({ GroupId: group }));
ok("group-in-use");
await refused("ResourceInUseException", elb.deleteLoadBalancer({ LoadBalancerArn: lb }));
ok("balancer-in-use");
assert.deepEqual(failures(await provider.deleteVpcEndpointServiceConfigurations({ ServiceIds: [ServiceId] })), [
  [ServiceId, "ExistingVpcEndpointConnections"],
]);
ok("service-in-use");
await provider.rejectVpcEndpointConnections({ ServiceId, VpcEndpointIds: [endpoint] });
await becomes("rejected", state);
ok("rejected");

// --- everything is deleted

assert.deepEqual(failures(await consumer.deleteVpcEndpoints({ VpcEndpointIds: [endpoint, gateway] })), []);
await becomes([], endpoints);
await becomes([], interfaces);
ok("endpoints-deleted");
assert.deepEqual(failures(await provider.deleteVpcEndpointServiceConfigurations({ ServiceIds: [ServiceId] })), []);
await refused("InvalidVpcEndpointServiceId.NotFound", provider.describeVpcEndpointServiceConfigurations({ ServiceIds: [ServiceId] }));
ok("service-deleted");
await elb.deleteLoadBalancer({ LoadBalancerArn: lb });
await waitUntilLoadBalancersDeleted(within(elb), { LoadBalancerArns: [lb] });
await elb.deleteTargetGroup({ TargetGroupArn: targetGroup });
await assert.rejects(elb.describeTargetGroups({ TargetGroupArns: [targetGroup] }), TargetGroupNotFoundException);
ok("balancer-deleted");
await consumer.deleteSecurityGroup({ GroupId: group });
for (const SubnetId of cSubnets) await consumer.deleteSubnet({ SubnetId });
for (const SubnetId of pSubnets) await provider.deleteSubnet({ SubnetId });
await consumer.deleteVpc({ VpcId: cVpc });
await provider.deleteVpc({ VpcId: pVpc });
await refused("InvalidVpcID.NotFound", consumer.describeVpcs({ VpcIds: [cVpc] }));
await refused("InvalidGroup.NotFound", consumer.describeSecurityGroups({ GroupIds: [group] }));
await refused("InvalidSubnetID.NotFound", consumer.describeSubnets({ SubnetIds: [cSubnets[0]] }));
ok("all-gone");
