#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Private hosted zones with the aws command line, version 1 or 2: each line
# "ok NAME" is something found out, as zones.py does.
source "${0%/*}/common.sh"

mine=$(consumer ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId)
theirs=$(provider ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId)
vpc=VPCRegion=us-east-1,VPCId

read -r zone change <<<"$(consumer route53 create-hosted-zone --name corp.example --caller-reference one --vpc "$vpc=$mine" \
	--hosted-zone-config Comment=ours,PrivateZone=true --query '[HostedZone.Id,ChangeInfo.Id]')"
[[ $zone == /hostedzone/Z* && $change == /change/C* ]]
consumer route53 wait resource-record-sets-changed --id "$change"
ok zone

refused InvalidInput consumer route53 create-hosted-zone --name a.example --caller-reference two
refused HostedZoneAlreadyExists consumer route53 create-hosted-zone --name b.example --caller-reference one --vpc "$vpc=$mine"
refused ConflictingDomainExists consumer route53 create-hosted-zone --name corp.example --caller-reference three --vpc "$vpc=$mine"
ok zone-refused

# batch CHANGE... is a batch of changes, each ACTION,NAME,TYPE,VALUE.
batch() {
	local change action name type value out=
	for change; do
		IFS=, read -r action name type value <<<"$change"
		out+="${out:+,}{\"Action\":\"$action\",\"ResourceRecordSet\":{\"Name\":\"$name\",\"Type\":\"$type\",\"TTL\":60,\"ResourceRecords\":[{\"Value\":\"$value\"}]}}"
	done
	consumer route53 change-resource-record-sets --hosted-zone-id "$zone" --change-batch "{\"Changes\":[$out]}"
}

batch CREATE,www.corp.example,A,10.0.0.1 'UPSERT,*.corp.example,TXT,\"a b\"' >/dev/null
is 'corp.example. NS corp.example. SOA \052.corp.example. TXT www.corp.example. A' \
	"$(consumer route53 list-resource-record-sets --hosted-zone-id "$zone" --page-size 3 --query 'ResourceRecordSets[].[Name,Type]' | tr '\t\n' '  ' | sed 's/ *$//')"
ok records

refused InvalidChangeBatch batch CREATE,new.corp.example,A,10.0.0.1 CREATE,www.corp.example,A,10.0.0.1
is 4 "$(consumer route53 get-hosted-zone --id "$zone" --query HostedZone.ResourceRecordSetCount)"
refused InvalidChangeBatch batch CREATE,corp.example,CNAME,www.corp.example
ok records-refused

refused NotAuthorizedException provider route53 associate-vpc-with-hosted-zone --hosted-zone-id "$zone" --vpc "$vpc=$theirs"
consumer route53 create-vpc-association-authorization --hosted-zone-id "$zone" --vpc "$vpc=$theirs" >/dev/null
provider route53 associate-vpc-with-hosted-zone --hosted-zone-id "$zone" --vpc "$vpc=$theirs" >/dev/null
is "${zone#/hostedzone/}" "$(provider route53 list-hosted-zones-by-vpc --vpc-id "$theirs" --vpc-region us-east-1 --query 'HostedZoneSummaries[].HostedZoneId')"
consumer route53 delete-vpc-association-authorization --hosted-zone-id "$zone" --vpc "$vpc=$theirs"
provider route53 disassociate-vpc-from-hosted-zone --hosted-zone-id "$zone" --vpc "$vpc=$theirs" >/dev/null
refused LastVPCAssociation consumer route53 disassociate-vpc-from-hosted-zone --hosted-zone-id "$zone" --vpc "$vpc=$mine"
ok associations

consumer route53 change-tags-for-resource --resource-type hostedzone --resource-id "${zone#/hostedzone/}" --add-tags Key=team,Value=dns
is dns "$(consumer route53 list-tags-for-resource --resource-type hostedzone --resource-id "${zone#/hostedzone/}" --query 'ResourceTagSet.Tags[0].Value')"
ok tags

is corp.example. "$(consumer route53 list-hosted-zones --query 'HostedZones[].Name')"
is corp.example. "$(consumer route53 list-hosted-zones-by-name --dns-name corp.example --query 'HostedZones[].Name')"
is 1 "$(consumer route53 get-hosted-zone-count --query HostedZoneCount)"
ok lists

refused HostedZoneNotEmpty consumer route53 delete-hosted-zone --id "$zone"
batch DELETE,www.corp.example,A,10.0.0.1 'DELETE,*.corp.example,TXT,\"a b\"' >/dev/null
consumer route53 delete-hosted-zone --id "$zone" >/dev/null
refused NoSuchHostedZone consumer route53 get-hosted-zone --id "$zone"
ok all-gone
