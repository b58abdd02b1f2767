// SPDX-License-Identifier: Apache-2.0

package route53

import (
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("POST", "hostedzone/{HostedZoneId}/rrset", "ChangeResourceRecordSets", changeRecordSets)
	register("GET", "hostedzone/{HostedZoneId}/rrset", "ListResourceRecordSets", listRecordSets)
}

// ChangeRecordSetsInput is the input of ChangeResourceRecordSets.
type ChangeRecordSetsInput struct {
	ZoneID string      `query:"HostedZoneId,required"`
	Batch  ChangeBatch `query:"ChangeBatch,required"`
}

// ChangeBatch is changes that are made together or not at all.
type ChangeBatch struct {
	Comment string   `query:"Comment"`
	Changes []Change `query:"Changes,required,item=Change"`
}

// Change is one of them.
type Change struct {
	Action string      `query:"Action,required,enum=CREATE|DELETE|UPSERT"`
	Set    RecordInput `query:"ResourceRecordSet,required"`
}

// RecordInput is a record set as it is sent. What is refused asks for another
// routing policy than the simple one, or for a health check.
type RecordInput struct {
	Name    string           `query:"Name,required"`
	Type    string           `query:"Type,required,enum=SOA|A|TXT|NS|CNAME|MX|NAPTR|PTR|SRV|SPF|AAAA|CAA|DS|TLSA|SSHFP|SVCB|HTTPS"`
	TTL     *int64           `query:"TTL"`
	Records []ResourceRecord `query:"ResourceRecords,item=ResourceRecord"`
	Alias   *AliasTarget     `query:"AliasTarget"`
	_       awsquery.Refused `query:"SetIdentifier,refuse"`
	_       awsquery.Refused `query:"Weight,refuse"`
	_       awsquery.Refused `query:"Region,refuse"`
	_       awsquery.Refused `query:"GeoLocation,refuse"`
	_       awsquery.Refused `query:"GeoProximityLocation,refuse"`
	_       awsquery.Refused `query:"Failover,refuse"`
	_       awsquery.Refused `query:"MultiValueAnswer,refuse"`
	_       awsquery.Refused `query:"CidrRoutingConfig,refuse"`
	_       awsquery.Refused `query:"HealthCheckId,refuse"`
	_       awsquery.Refused `query:"TrafficPolicyInstanceId,refuse"`
}

// ResourceRecord is one value.
type ResourceRecord struct {
	Value string `query:"Value,required" xml:"Value"`
}

// AliasTarget is the name whose records an alias has.
type AliasTarget struct {
	ZoneID         string `query:"HostedZoneId,required" xml:"HostedZoneId"`
	DNSName        string `query:"DNSName,required" xml:"DNSName"`
	EvaluateHealth *bool  `query:"EvaluateTargetHealth,required" xml:"EvaluateTargetHealth"`
}

func changeRecordSets(c *Call, in *ChangeRecordSetsInput) (*ChangeOutput, error) {
	var changes []control.RecordChange
	for _, ch := range in.Batch.Changes {
		change := control.RecordChange{Action: ch.Action, Name: ch.Set.Name, Type: vpc.RecordType(ch.Set.Type), TTL: ch.Set.TTL}
		for _, r := range ch.Set.Records {
			change.Values = append(change.Values, r.Value)
		}
		if a := ch.Set.Alias; a != nil {
			change.Alias = &vpc.Alias{Zone: zoneID(a.ZoneID), Name: a.DNSName, EvaluateHealth: *a.EvaluateHealth}
		}
		changes = append(changes, change)
	}
	return changed(c.Control.ChangeRecordSets(c.Context, c.Caller, zoneID(in.ZoneID), in.Batch.Comment, changes))
}

// ListRecordSetsInput is the input of ListResourceRecordSets.
type ListRecordSetsInput struct {
	ZoneID   string           `query:"HostedZoneId,required"`
	Name     string           `query:"name"`
	Type     string           `query:"type,enum=SOA|A|TXT|NS|CNAME|MX|NAPTR|PTR|SRV|SPF|AAAA|CAA|DS|TLSA|SSHFP|SVCB|HTTPS"`
	MaxItems *int32           `query:"maxitems"`
	_        awsquery.Refused `query:"identifier,refuse"`
}

// ListRecordSetsOutput is the output of ListResourceRecordSets.
type ListRecordSetsOutput struct {
	Sets        []RecordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated bool        `xml:"IsTruncated"`
	NextName    string      `xml:"NextRecordName,omitempty"`
	NextType    string      `xml:"NextRecordType,omitempty"`
	MaxItems    int         `xml:"MaxItems"`
}

// RecordSet is a record set as answers have it.
type RecordSet struct {
	Name    string           `xml:"Name"`
	Type    string           `xml:"Type"`
	TTL     *int64           `xml:"TTL"`
	Records []ResourceRecord `xml:"ResourceRecords>ResourceRecord,omitempty"`
	Alias   *AliasTarget     `xml:"AliasTarget"`
}

// maxRecordSets is the largest page of record sets, as AWS has it.
const maxRecordSets = 300

func listRecordSets(c *Call, in *ListRecordSetsInput) (*ListRecordSetsOutput, error) {
	n, err := pageSize("maxitems", in.MaxItems, maxRecordSets)
	if err != nil {
		return nil, err
	}
	name := ""
	switch {
	case in.Name != "":
		if name, err = vpc.ParseDomainName(in.Name); err != nil {
			return nil, vpc.Errorf(vpc.Invalid, "name", in.Name, "%v", err)
		}
	case in.Type != "":
		return nil, vpc.Errorf(vpc.Invalid, "type", in.Type, "The parameter type is only for a request with name")
	}
	v := c.View()
	z, err := control.OwnedZone(v, c.Caller, zoneID(in.ZoneID))
	if err != nil {
		return nil, err
	}
	list, next := control.RecordSets(v, z, name, vpc.RecordType(in.Type), n)
	out := &ListRecordSetsOutput{MaxItems: n}
	for _, r := range list {
		out.Sets = append(out.Sets, recordSet(r))
	}
	if next != nil {
		out.IsTruncated, out.NextName, out.NextType = true, next.Name+".", string(next.Type)
	}
	return out, nil
}

func recordSet(r *vpc.RecordSet) RecordSet {
	out := RecordSet{Name: r.Name + ".", Type: string(r.Type)}
	if a := r.Alias; a != nil {
		out.Alias = &AliasTarget{string(a.Zone), a.Name + ".", &a.EvaluateHealth}
		return out
	}
	ttl := int64(r.TTL)
	out.TTL = &ttl
	for _, v := range r.Values {
		out.Records = append(out.Records, ResourceRecord{v})
	}
	return out
}
