#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A VPC whose way to S3 is a gateway endpoint that lets through one bucket.
#
#   gateway.sh up BUCKET
#   gateway.sh down
set -euo pipefail

project=example-gateway
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-us-east-1}}

# Versions before 1.29 and 2.13 do not read the variable themselves.
aws() { command aws --output text ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} "$@"; }
tags() { echo "ResourceType=$1,Tags=[{Key=Project,Value=$project}]"; }

up() {
	local bucket=$1 vpc table endpoint
	vpc=$(aws ec2 create-vpc --cidr-block 10.0.0.0/16 --tag-specifications "$(tags vpc)" --query Vpc.VpcId)
	aws ec2 create-subnet --vpc-id "$vpc" --cidr-block 10.0.1.0/24 --tag-specifications "$(tags subnet)" >/dev/null
	table=$(aws ec2 describe-route-tables --filters "Name=vpc-id,Values=$vpc" --query 'RouteTables[0].RouteTableId')
	endpoint=$(aws ec2 create-vpc-endpoint --vpc-endpoint-type Gateway --vpc-id "$vpc" \
		--service-name "com.amazonaws.$region.s3" --route-table-ids "$table" --tag-specifications "$(tags vpc-endpoint)" \
		--policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*",
			"Resource":["arn:aws:s3:::'"$bucket"'","arn:aws:s3:::'"$bucket"'/*"]}]}' \
		--query VpcEndpoint.VpcEndpointId)
	echo "vpc $vpc"
	echo "endpoint $endpoint"
	aws ec2 describe-route-tables --route-table-ids "$table" \
		--query "RouteTables[].Routes[?GatewayId=='$endpoint'][] | [].['route', DestinationPrefixListId, GatewayId]"
}

down() {
	local vpc ids
	for vpc in $(aws ec2 describe-vpcs --filters "Name=tag:Project,Values=$project" --query 'Vpcs[].VpcId'); do
		while ids=$(aws ec2 describe-vpc-endpoints --filters "Name=vpc-id,Values=$vpc" --query 'VpcEndpoints[].VpcEndpointId') && [[ -n $ids ]]; do
			# shellcheck disable=SC2086 # several ids
			aws ec2 delete-vpc-endpoints --vpc-endpoint-ids $ids >/dev/null
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
up) up "${2:?name the bucket}" ;;
down) down ;;
*) echo "usage: $0 up BUCKET | down" >&2 && exit 2 ;;
esac
