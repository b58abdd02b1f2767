#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The scenario of checks.txt with the aws command line, version 1 or 2.
source "${0%/*}/common.sh"

# becomes WANT COMMAND... asks until the answer is WANT, a minute at most.
becomes() {
	local want=$1 out end=$((SECONDS + 60))
	shift
	until out=$("$@") && [[ $out == "$want" ]]; do
		((SECONDS < end)) || { echo "line ${BASH_LINENO[0]}: want '$want' within a minute, got '$out'" >&2; exit 1; }
	done
}

# words prints its input's words sorted, each on a line.
words() { tr -s '[:space:]' '\n' | sort; }

# --- two accounts and their networks

c_account=$(consumer sts get-caller-identity --query Account)
p_account=$(provider sts get-caller-identity --query Account)
[[ $c_account =~ ^[0-9]{12}$ && $p_account =~ ^[0-9]{12}$ && $c_account != "$p_account" ]]
ok identity

read -r zone_a zone_b _ <<<"$(consumer ec2 describe-availability-zones --query 'AvailabilityZones[?State==`available`].ZoneName')"
[[ -n $zone_a && -n $zone_b ]]
ok zones

c_vpc=$(consumer ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId \
	--tag-specifications 'ResourceType=vpc,Tags=[{Key=Name,Value=consumer}]')
p_vpc=$(provider ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId)
consumer ec2 wait vpc-available --vpc-ids "$c_vpc"
is "10.0.0.0/16 consumer" "$(consumer ec2 describe-vpcs --vpc-ids "$c_vpc" \
	--query 'Vpcs[0].[CidrBlock,Tags[0].Value]' | xargs)"
ok vpcs

refused DryRunOperation consumer ec2 create-vpc --cidr-block 10.9.0.0/16 --dry-run
is 1 "$(consumer ec2 describe-vpcs --filters Name=is-default,Values=false --query 'length(Vpcs)')"
ok dry-run

consumer ec2 modify-vpc-attribute --vpc-id "$c_vpc" --enable-dns-hostnames
is True "$(consumer ec2 describe-vpc-attribute --vpc-id "$c_vpc" --attribute enableDnsHostnames --query EnableDnsHostnames.Value)"
ok vpc-attributes

c_subnet_a=$(consumer ec2 create-subnet --vpc-id "$c_vpc" --cidr-block 10.0.1.0/24 --availability-zone "$zone_a" --query Subnet.SubnetId)
c_subnet_b=$(consumer ec2 create-subnet --vpc-id "$c_vpc" --cidr-block 10.0.2.0/24 --availability-zone "$zone_b" --query Subnet.SubnetId)
p_subnet_a=$(provider ec2 create-subnet --vpc-id "$p_vpc" --cidr-block 10.0.1.0/24 --availability-zone "$zone_a" --query Subnet.SubnetId)
p_subnet_b=$(provider ec2 create-subnet --vpc-id "$p_vpc" --cidr-block 10.0.2.0/24 --availability-zone "$zone_b" --query Subnet.SubnetId)
consumer ec2 wait subnet-available --subnet-ids "$c_subnet_a" "$c_subnet_b"
ok subnets

refused InvalidSubnet.Conflict consumer ec2 create-subnet --vpc-id "$c_vpc" --cidr-block 10.0.1.128/25
ok subnet-conflict
refused InvalidVpcID.NotFound consumer ec2 describe-vpcs --vpc-ids vpc-0123456789abcdef0
ok unknown-vpc

# --- the provider offers a service

lb=$(provider elbv2 create-load-balancer --name compat --type network --scheme internal \
	--subnets "$p_subnet_a" "$p_subnet_b" --query 'LoadBalancers[0].LoadBalancerArn')
provider elbv2 wait load-balancer-available --load-balancer-arns "$lb"
ok balancer
target_group=$(provider elbv2 create-target-group --name compat --protocol TCP --port 8080 --vpc-id "$p_vpc" \
	--target-type ip --query 'TargetGroups[0].TargetGroupArn')
is 8080 "$(provider elbv2 describe-target-groups --names compat --query 'TargetGroups[0].Port')"
ok target-group
provider elbv2 create-listener --load-balancer-arn "$lb" --protocol TCP --port 80 \
	--default-actions "Type=forward,TargetGroupArn=$target_group" >/dev/null
is 80 "$(provider elbv2 describe-listeners --load-balancer-arn "$lb" --query 'Listeners[0].Port')"
ok listener

read -r service_id service <<<"$(provider ec2 create-vpc-endpoint-service-configuration --acceptance-required \
	--network-load-balancer-arns "$lb" --query 'ServiceConfiguration.[ServiceId,ServiceName]')"
is Available "$(provider ec2 describe-vpc-endpoint-service-configurations --service-ids "$service_id" \
	--query 'ServiceConfigurations[0].ServiceState')"
ok service
refused InvalidServiceName consumer ec2 describe-vpc-endpoint-services --service-names "$service"
ok service-hidden
provider ec2 modify-vpc-endpoint-service-permissions --service-id "$service_id" \
	--add-allowed-principals "arn:aws:iam::$c_account:root" >/dev/null
is "$p_account Interface True" "$(consumer ec2 describe-vpc-endpoint-services --service-names "$service" \
	--query 'ServiceDetails[0].[Owner,ServiceType[0].ServiceType,AcceptanceRequired]' | xargs)"
ok service-offered

# --- the consumer's interface endpoint

group=$(consumer ec2 create-security-group --vpc-id "$c_vpc" --group-name endpoint --description "the endpoint" --query GroupId)
consumer ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 80 --cidr 10.0.0.0/16 >/dev/null
consumer ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 443 --source-group "$group" >/dev/null
is "80 443" "$(consumer ec2 describe-security-group-rules --filters "Name=group-id,Values=$group" \
	--query 'sort_by(SecurityGroupRules[?!IsEgress], &FromPort)[].FromPort' | xargs)"
ok group
refused InvalidGroup.Duplicate consumer ec2 create-security-group --vpc-id "$c_vpc" --group-name endpoint --description again
ok group-duplicate
refused InvalidPermission.Duplicate consumer ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 80 --cidr 10.0.0.0/16
ok rule-duplicate

read -r endpoint state <<<"$(consumer ec2 create-vpc-endpoint --vpc-endpoint-type Interface --vpc-id "$c_vpc" --service-name "$service" \
	--subnet-ids "$c_subnet_a" "$c_subnet_b" --security-group-ids "$group" --no-private-dns-enabled \
	--query 'VpcEndpoint.[VpcEndpointId,State]')"
is pendingAcceptance "$state"
ok endpoint
is "$endpoint $c_account" "$(provider ec2 describe-vpc-endpoint-connections --filters "Name=service-id,Values=$service_id" \
	Name=vpc-endpoint-state,Values=pendingAcceptance --query 'VpcEndpointConnections[].[VpcEndpointId,VpcEndpointOwner]' | xargs)"
ok connection

state() { consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$endpoint" --query 'VpcEndpoints[0].State'; }
is "" "$(provider ec2 accept-vpc-endpoint-connections --service-id "$service_id" --vpc-endpoint-ids "$endpoint" --query 'Unsuccessful[]')"
becomes available state
ok accepted

names=$(consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$endpoint" --query 'VpcEndpoints[0].DnsEntries[].DnsName' | words)
is 3 "$(grep -c "^$endpoint-.*\.${service_id}\.us-east-1\.vpce\.amazonaws\.com$" <<<"$names")"
is 1 "$(grep -c -- "-$zone_a\.$service_id" <<<"$names")"
is 1 "$(grep -c -- "-$zone_b\.$service_id" <<<"$names")"
ok dns-entries

interfaces() {
	consumer ec2 describe-network-interfaces --filters "Name=vpc-id,Values=$c_vpc" Name=interface-type,Values=vpc_endpoint "$@"
}
is "$(words <<<"$c_subnet_a $c_subnet_b")" "$(interfaces --query 'NetworkInterfaces[?Status==`in-use`].SubnetId' | words)"
is "$group $group" "$(interfaces --query 'NetworkInterfaces[?RequesterManaged].Groups[0].GroupId' | xargs)"
ok interfaces
refused InvalidVpcEndpointId.NotFound provider ec2 describe-vpc-endpoints --vpc-endpoint-ids "$endpoint"
ok foreign-endpoint

# --- the consumer's gateway endpoint

s3=com.amazonaws.us-east-1.s3
table=$(consumer ec2 describe-route-tables --filters "Name=vpc-id,Values=$c_vpc" Name=association.main,Values=true \
	--query 'RouteTables[0].RouteTableId')
gateway=$(consumer ec2 create-vpc-endpoint --vpc-endpoint-type Gateway --vpc-id "$c_vpc" --service-name $s3 --route-table-ids "$table" \
	--policy-document '{"Version":"2012-10-17","Statement":[{"Sid":"ReadOnly","Effect":"Allow","Principal":"*","Action":"s3:Get*","Resource":"*"}]}' \
	--tag-specifications 'ResourceType=vpc-endpoint,Tags=[{Key=Name,Value=s3}]' --query VpcEndpoint.VpcEndpointId)
gateway_state() { consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$gateway" --query 'VpcEndpoints[0].State'; }
gateway_policy() { consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$gateway" --query 'VpcEndpoints[0].PolicyDocument'; }
becomes available gateway_state
[[ $(gateway_policy) == *ReadOnly* ]]
ok gateway
prefix_list=$(consumer ec2 describe-route-tables --route-table-ids "$table" \
	--query "RouteTables[0].Routes[?GatewayId=='$gateway'].DestinationPrefixListId")
[[ $prefix_list == pl-* ]]
ok gateway-route
refused RouteAlreadyExists consumer ec2 create-vpc-endpoint --vpc-id "$c_vpc" --service-name $s3 --route-table-ids "$table"
ok gateway-duplicate
is "$s3" "$(consumer ec2 describe-prefix-lists --prefix-list-ids "$prefix_list" --query 'PrefixLists[0].PrefixListName')"
[[ $(consumer ec2 describe-prefix-lists --filters Name=prefix-list-name,Values=$s3 --query 'PrefixLists[0].Cidrs') == */* ]]
ok prefix-list

endpoints() { consumer ec2 describe-vpc-endpoints --query 'VpcEndpoints[].VpcEndpointId' "$@"; }
is "$endpoint" "$(endpoints --filters "Name=vpc-id,Values=$c_vpc" Name=vpc-endpoint-type,Values=Interface)"
is "$(words <<<"$endpoint $gateway")" "$(endpoints --filters Name=vpc-endpoint-state,Values=available,pending | words)"
is "" "$(endpoints --filters Name=service-name,Values=nothing)"
ok filters
is "$(words <<<"$endpoint $gateway")" "$(endpoints --page-size 1 | words)"
ok paging

consumer ec2 create-tags --resources "$endpoint" --tags Key=team,Value=orders
is "$endpoint" "$(endpoints --filters Name=tag:team,Values=orders)"
ok tags-added
consumer ec2 delete-tags --resources "$endpoint" --tags Key=team
is "" "$(endpoints --filters Name=tag:team,Values=orders)"
ok tags-removed

consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$gateway" --policy-document \
	'{"Version":"2012-10-17","Statement":[{"Sid":"OneBucket","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::one/*"}]}' >/dev/null
[[ $(gateway_policy) == *OneBucket* ]]
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$gateway" --reset-policy >/dev/null
[[ $(gateway_policy) != *OneBucket* ]]
ok policy
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$endpoint" --remove-subnet-ids "$c_subnet_b" >/dev/null
becomes available state
is "$c_subnet_a" "$(interfaces --query 'NetworkInterfaces[].SubnetId' | xargs)"
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$endpoint" --add-subnet-ids "$c_subnet_b" >/dev/null
becomes available state
is "$(words <<<"$c_subnet_a $c_subnet_b")" "$(interfaces --query 'NetworkInterfaces[].SubnetId' | words)"
ok subnets-modified
default_group=$(consumer ec2 describe-security-groups --filters "Name=vpc-id,Values=$c_vpc" Name=group-name,Values=default \
	--query 'SecurityGroups[0].GroupId')
groups() { consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$endpoint" --query 'VpcEndpoints[0].Groups[].GroupId' | words; }
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$endpoint" --add-security-group-ids "$default_group" >/dev/null
is "$(words <<<"$group $default_group")" "$(groups)"
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$endpoint" --remove-security-group-ids "$default_group" >/dev/null
is "$group" "$(groups)"
ok groups-modified

# --- what a user runs into

nobody=vpce-0123456789abcdef0
refused InvalidVpcEndpointId.NotFound consumer ec2 modify-vpc-endpoint --vpc-endpoint-id $nobody --reset-policy
ok unknown-endpoint
refused InvalidVpcEndpointId.Malformed consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids vpce-xyz
ok malformed-endpoint
is "$nobody InvalidVpcEndpoint.NotFound" "$(consumer ec2 delete-vpc-endpoints --vpc-endpoint-ids $nobody \
	--query 'Unsuccessful[].[ResourceId,Error.Code]' | xargs)"
ok delete-unknown
refused DependencyViolation consumer ec2 delete-vpc --vpc-id "$c_vpc"
ok vpc-in-use
refused DependencyViolation consumer ec2 delete-subnet --subnet-id "$c_subnet_a"
ok subnet-in-use
refused DependencyViolation consumer ec2 delete-security-group --group-id "$group"
ok group-in-use
refused ResourceInUse provider elbv2 delete-load-balancer --load-balancer-arn "$lb"
ok balancer-in-use
is "$service_id ExistingVpcEndpointConnections" "$(provider ec2 delete-vpc-endpoint-service-configurations \
	--service-ids "$service_id" --query 'Unsuccessful[].[ResourceId,Error.Code]' | xargs)"
ok service-in-use
provider ec2 reject-vpc-endpoint-connections --service-id "$service_id" --vpc-endpoint-ids "$endpoint" >/dev/null
becomes rejected state
ok rejected

# --- everything is deleted

is "" "$(consumer ec2 delete-vpc-endpoints --vpc-endpoint-ids "$endpoint" "$gateway" --query 'Unsuccessful[]')"
becomes "" endpoints
becomes "" interfaces --query 'NetworkInterfaces[].NetworkInterfaceId'
ok endpoints-deleted
is "" "$(provider ec2 delete-vpc-endpoint-service-configurations --service-ids "$service_id" --query 'Unsuccessful[]')"
refused InvalidVpcEndpointServiceId.NotFound provider ec2 describe-vpc-endpoint-service-configurations --service-ids "$service_id"
ok service-deleted
provider elbv2 delete-load-balancer --load-balancer-arn "$lb"
provider elbv2 wait load-balancers-deleted --load-balancer-arns "$lb"
provider elbv2 delete-target-group --target-group-arn "$target_group"
refused TargetGroupNotFound provider elbv2 describe-target-groups --target-group-arns "$target_group"
ok balancer-deleted
consumer ec2 delete-security-group --group-id "$group"
for s in "$c_subnet_a" "$c_subnet_b"; do consumer ec2 delete-subnet --subnet-id "$s"; done
for s in "$p_subnet_a" "$p_subnet_b"; do provider ec2 delete-subnet --subnet-id "$s"; done
consumer ec2 delete-vpc --vpc-id "$c_vpc"
provider ec2 delete-vpc --vpc-id "$p_vpc"
refused InvalidVpcID.NotFound consumer ec2 describe-vpcs --vpc-ids "$c_vpc"
refused InvalidGroup.NotFound consumer ec2 describe-security-groups --group-ids "$group"
refused InvalidSubnetID.NotFound consumer ec2 describe-subnets --subnet-ids "$c_subnet_a"
ok all-gone
