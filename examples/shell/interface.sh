#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A VPC with an interface endpoint to a service of another account.
#
#   interface.sh up SERVICE    the name that service.sh printed
#   interface.sh wait          until the provider has accepted; prints its names
#   interface.sh down
set -euo pipefail

project=example-interface

# Versions before 1.29 and 2.13 do not read the variable themselves.
aws() { command aws --output text ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} "$@"; }
tags() { echo "ResourceType=$1,Tags=[{Key=Project,Value=$project}]"; }

up() {
	local service=$1 vpc group zone subnets=() n=1
	vpc=$(aws ec2 create-vpc --cidr-block 10.0.0.0/16 --tag-specifications "$(tags vpc)" --query Vpc.VpcId)
	for zone in $(aws ec2 describe-availability-zones --query 'AvailabilityZones[:2].ZoneName'); do
		subnets+=("$(aws ec2 create-subnet --vpc-id "$vpc" --cidr-block "10.0.$n.0/24" --availability-zone "$zone" --query Subnet.SubnetId)")
		n=$((n + 1))
	done
	group=$(aws ec2 create-security-group --vpc-id "$vpc" --group-name $project --description "who may use the endpoint" --query GroupId)
	aws ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 80 --cidr 10.0.0.0/16 >/dev/null
	aws ec2 create-vpc-endpoint --vpc-endpoint-type Interface --vpc-id "$vpc" --service-name "$service" \
		--subnet-ids "${subnets[@]}" --security-group-ids "$group" --no-private-dns-enabled \
		--tag-specifications "$(tags vpc-endpoint)" --query "VpcEndpoint.['endpoint', VpcEndpointId, State]"
}

endpoints() { aws ec2 describe-vpc-endpoints --filters "Name=tag:Project,Values=$project" --query "$1"; }

wait_for() {
	local tries
	for ((tries = 0; tries < 120; tries++)); do
		case $(endpoints 'VpcEndpoints[0].State') in
		available)
			endpoints "VpcEndpoints[0].DnsEntries[].['name', DnsName]"
			return
			;;
		rejected | failed | expired | deleted) break ;;
		esac
		sleep 1
	done
	echo "the endpoint is $(endpoints 'VpcEndpoints[0].State')" >&2
	return 1
}

down() {
	local vpc id ids
	for vpc in $(aws ec2 describe-vpcs --filters "Name=tag:Project,Values=$project" --query 'Vpcs[].VpcId'); do
		while ids=$(endpoints 'VpcEndpoints[].VpcEndpointId') && [[ -n $ids ]]; do
			# shellcheck disable=SC2086 # several ids
			aws ec2 delete-vpc-endpoints --vpc-endpoint-ids $ids >/dev/null
			sleep 1
		done
		for id in $(aws ec2 describe-security-groups --filters "Name=vpc-id,Values=$vpc" "Name=group-name,Values=$project" --query 'SecurityGroups[].GroupId'); do
			aws ec2 delete-security-group --group-id "$id" >/dev/null
		done
		for id in $(aws ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc" --query 'Subnets[].SubnetId'); do
			aws ec2 delete-subnet --subnet-id "$id"
		done
		aws ec2 delete-vpc --vpc-id "$vpc"
		echo "deleted $vpc"
	done
}

case ${1:-} in
up) up "${2:?name the service}" ;;
wait) wait_for ;;
down) down ;;
*) echo "usage: $0 up SERVICE | wait | down" >&2 && exit 2 ;;
esac
