#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Offers what listens on port 8080 in a VPC to another account: a network load
# balancer, an endpoint service that asks for acceptance, a permission.
#
#   service.sh up ACCOUNT    prints the name to give to that account
#   service.sh accept        accepts whoever waits
#   service.sh down
set -euo pipefail

project=example-service

# Versions before 1.29 and 2.13 do not read the variable themselves.
aws() { command aws --output text ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} "$@"; }
tags() { echo "ResourceType=$1,Tags=[{Key=Project,Value=$project}]"; }

up() {
	local consumer=$1 vpc balancer targets id name zone subnets=() n=1
	vpc=$(aws ec2 create-vpc --cidr-block 10.0.0.0/16 --tag-specifications "$(tags vpc)" --query Vpc.VpcId)
	for zone in $(aws ec2 describe-availability-zones --query 'AvailabilityZones[:2].ZoneName'); do
		subnets+=("$(aws ec2 create-subnet --vpc-id "$vpc" --cidr-block "10.0.$n.0/24" --availability-zone "$zone" --query Subnet.SubnetId)")
		n=$((n + 1))
	done
	balancer=$(aws elbv2 create-load-balancer --name $project --type network --scheme internal \
		--subnets "${subnets[@]}" --query 'LoadBalancers[0].LoadBalancerArn')
	# Register what should answer: aws elbv2 register-targets.
	targets=$(aws elbv2 create-target-group --name $project --protocol TCP --port 8080 --vpc-id "$vpc" \
		--target-type ip --query 'TargetGroups[0].TargetGroupArn')
	aws elbv2 create-listener --load-balancer-arn "$balancer" --protocol TCP --port 80 \
		--default-actions "Type=forward,TargetGroupArn=$targets" >/dev/null
	aws elbv2 wait load-balancer-available --load-balancer-arns "$balancer"
	read -r id name <<<"$(aws ec2 create-vpc-endpoint-service-configuration --network-load-balancer-arns "$balancer" \
		--acceptance-required --tag-specifications "$(tags vpc-endpoint-service)" \
		--query 'ServiceConfiguration.[ServiceId,ServiceName]')"
	aws ec2 modify-vpc-endpoint-service-permissions --service-id "$id" \
		--add-allowed-principals "arn:aws:iam::$consumer:root" >/dev/null
	echo "service $name"
}

services() {
	aws ec2 describe-vpc-endpoint-service-configurations --filters "Name=tag:Project,Values=$project" \
		--query 'ServiceConfigurations[].ServiceId'
}

# connected prints the endpoints of a service that are in one of some states.
connected() {
	aws ec2 describe-vpc-endpoint-connections --filters "Name=service-id,Values=$1" "Name=vpc-endpoint-state,Values=$2" \
		--query 'VpcEndpointConnections[].VpcEndpointId'
}

accept() {
	local id endpoint
	for id in $(services); do
		for endpoint in $(connected "$id" pendingAcceptance); do
			aws ec2 accept-vpc-endpoint-connections --service-id "$id" --vpc-endpoint-ids "$endpoint" >/dev/null
			echo "accepted $endpoint"
		done
	done
}

down() {
	local id endpoints vpc arn
	for id in $(services); do
		endpoints=$(connected "$id" pendingAcceptance,pending,available)
		# shellcheck disable=SC2086 # several ids
		[[ -z $endpoints ]] || aws ec2 reject-vpc-endpoint-connections --service-id "$id" --vpc-endpoint-ids $endpoints >/dev/null
		aws ec2 delete-vpc-endpoint-service-configurations --service-ids "$id" --query 'Unsuccessful[].Error.Message'
	done
	for arn in $(aws elbv2 describe-load-balancers --query "LoadBalancers[?LoadBalancerName=='$project'].LoadBalancerArn"); do
		aws elbv2 delete-load-balancer --load-balancer-arn "$arn"
		aws elbv2 wait load-balancers-deleted --load-balancer-arns "$arn"
	done
	for arn in $(aws elbv2 describe-target-groups --query "TargetGroups[?TargetGroupName=='$project'].TargetGroupArn"); do
		aws elbv2 delete-target-group --target-group-arn "$arn"
	done
	for vpc in $(aws ec2 describe-vpcs --filters "Name=tag:Project,Values=$project" --query 'Vpcs[].VpcId'); do
		# The load balancer's network interfaces go a little after it.
		while [[ -n $(aws ec2 describe-network-interfaces --filters "Name=vpc-id,Values=$vpc" --query 'NetworkInterfaces[].NetworkInterfaceId') ]]; do
			sleep 1
		done
		for id in $(aws ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc" --query 'Subnets[].SubnetId'); do
			aws ec2 delete-subnet --subnet-id "$id"
		done
		aws ec2 delete-vpc --vpc-id "$vpc"
		echo "deleted $vpc"
	done
}

case ${1:-} in
up) up "${2:?name the account}" ;;
accept) accept ;;
down) down ;;
*) echo "usage: $0 up ACCOUNT | accept | down" >&2 && exit 2 ;;
esac
