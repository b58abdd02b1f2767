#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Route 53 Resolver with the aws command line, version 1 or 2.
source "${0%/*}/common.sh"

ec2() { consumer ec2 "$@"; }
resolver() { consumer route53resolver "$@"; }

vpc=$(ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId)
subnet_a=$(ec2 create-subnet --vpc-id "$vpc" --cidr-block 10.0.1.0/24 --availability-zone us-east-1a --query Subnet.SubnetId)
subnet_b=$(ec2 create-subnet --vpc-id "$vpc" --cidr-block 10.0.2.0/24 --availability-zone us-east-1b --query Subnet.SubnetId)
group=$(ec2 create-security-group --vpc-id "$vpc" --group-name dns --description dns --query GroupId)

new_endpoint() { # DIRECTION
	resolver create-resolver-endpoint --creator-request-id "$1" --name "$1" --direction "$1" --security-group-ids "$group" \
		--ip-addresses "SubnetId=$subnet_a,Ip=10.0.1.53" "SubnetId=$subnet_b" --tags Key=team,Value=red --query ResolverEndpoint.Id
}
in=$(new_endpoint INBOUND)
is "$in" "$(new_endpoint INBOUND)"
is "INBOUND OPERATIONAL 2 $vpc" "$(resolver get-resolver-endpoint --resolver-endpoint-id "$in" \
	--query 'ResolverEndpoint.[Direction,Status,IpAddressCount,HostVPCId]' | xargs)"
ok inbound
is "True interface Route" "$(ec2 describe-network-interfaces --filters "Name=subnet-id,Values=$subnet_a" \
	--query 'NetworkInterfaces[].[RequesterManaged,InterfaceType,Description]' | xargs | cut -d' ' -f1-3)"
ok interfaces
refused InvalidRequestException resolver create-resolver-endpoint --creator-request-id taken --direction INBOUND --security-group-ids "$group" \
	--ip-addresses "SubnetId=$subnet_a,Ip=10.0.1.53" "SubnetId=$subnet_b"
ok address-in-use
resolver associate-resolver-endpoint-ip-address --resolver-endpoint-id "$in" --ip-address "SubnetId=$subnet_a,Ip=10.0.1.54" >/dev/null
is "10.0.1.53 10.0.1.54 10.0.2.4" "$(resolver list-resolver-endpoint-ip-addresses --resolver-endpoint-id "$in" --page-size 1 \
	--query 'IpAddresses[].Ip' | tr -s '[:space:]' '\n' | sort | xargs)"
ok paging
resolver disassociate-resolver-endpoint-ip-address --resolver-endpoint-id "$in" --ip-address "SubnetId=$subnet_a,Ip=10.0.1.53" >/dev/null
refused InvalidRequestException resolver disassociate-resolver-endpoint-ip-address --resolver-endpoint-id "$in" --ip-address "SubnetId=$subnet_a,Ip=10.0.1.54"
ok addresses
arn=$(resolver get-resolver-endpoint --resolver-endpoint-id "$in" --query ResolverEndpoint.Arn)
resolver tag-resource --resource-arn "$arn" --tags Key=env,Value=test
resolver untag-resource --resource-arn "$arn" --tag-keys team
is "env test" "$(resolver list-tags-for-resource --resource-arn "$arn" --query 'Tags[].[Key,Value]' | xargs)"
ok tags

out=$(new_endpoint OUTBOUND)
is "$out" "$(resolver list-resolver-endpoints --filters Name=Direction,Values=OUTBOUND --query 'ResolverEndpoints[].Id')"
ok outbound
rule=$(resolver create-resolver-rule --creator-request-id r --rule-type FORWARD --domain-name corp.example --resolver-endpoint-id "$out" \
	--target-ips Ip=192.0.2.53,Port=53 Ip=192.0.2.54,Port=5353 --query ResolverRule.Id)
is "corp.example. FORWARD COMPLETE" "$(resolver get-resolver-rule --resolver-rule-id "$rule" --query 'ResolverRule.[DomainName,RuleType,Status]' | xargs)"
system=$(resolver create-resolver-rule --creator-request-id s --rule-type SYSTEM --domain-name aws.corp.example --query ResolverRule.Id)
is "RECURSIVE" "$(resolver get-resolver-rule --resolver-rule-id rslvr-autodefined-rr-internet-resolver --query ResolverRule.RuleType)"
ok rules
refused InvalidRequestException resolver create-resolver-rule --creator-request-id d --rule-type FORWARD --domain-name x.example --resolver-endpoint-id "$out" \
	--target-ips Ip=10.0.1.9,Port=53
ok target-inside
resolver associate-resolver-rule --resolver-rule-id "$rule" --vpc-id "$vpc" >/dev/null
resolver associate-resolver-rule --resolver-rule-id "$system" --vpc-id "$vpc" >/dev/null
refused InvalidRequestException resolver associate-resolver-rule --resolver-rule-id "$rule" --vpc-id "$vpc"
is 3 "$(resolver list-resolver-rule-associations --filters "Name=VPCId,Values=$vpc" --query 'length(ResolverRuleAssociations)')"
ok associations
refused ResourceInUseException resolver delete-resolver-rule --resolver-rule-id "$rule"
refused InvalidRequestException resolver delete-resolver-endpoint --resolver-endpoint-id "$out"
ok in-use
refused ResourceNotFoundException provider route53resolver get-resolver-endpoint --resolver-endpoint-id "$in"
refused ResourceNotFoundException provider route53resolver get-resolver-rule --resolver-rule-id "$rule"
ok foreign

for r in "$rule" "$system"; do
	resolver disassociate-resolver-rule --resolver-rule-id "$r" --vpc-id "$vpc" >/dev/null
	resolver delete-resolver-rule --resolver-rule-id "$r" >/dev/null
done
for e in "$in" "$out"; do resolver delete-resolver-endpoint --resolver-endpoint-id "$e" >/dev/null; done
refused ResourceNotFoundException resolver get-resolver-endpoint --resolver-endpoint-id "$in"
is "" "$(ec2 describe-network-interfaces --query 'NetworkInterfaces[].NetworkInterfaceId')"
ok deleted
