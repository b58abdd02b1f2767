// SPDX-License-Identifier: Apache-2.0

// Package awsquery is the wire codec of the two form-encoded AWS protocols:
// EC2 Query (the EC2 API) and AWS Query (Elastic Load Balancing v2, STS, SNS),
// and of REST with XML (Route 53), whose requests it reads into the same forms.
// It turns a request into a plain Go struct and a plain Go struct into the XML
// answer, both by reflection over documented structs. It knows no operation.
//
// # Words
//
// A parameter is one name=value pair of the request. A wire name is the whole
// name as sent: IpPermissions.1.IpRanges.2.CidrIp. A dialect says how lists and
// maps are spelled:
//
//	EC2    list  SubnetId.1            struct list  Tag.1.Key
//	Query  list  Subnets.member.1      struct list  Tags.member.1.Key
//	Query  map   Attributes.entry.1.key and .value
//	REST   list  ResourceIds.ResourceId.1   struct list  AddTags.Tag.1.Key
//
// In the REST dialect a wire name is where the value is in the body, below its
// root, with an index for elements of lists; or the name of a parameter of the
// query string, or of one in the path.
//
// # Promise
//
// Nothing is silently ignored. Every parameter of a request is either decoded
// into a field, or the request fails naming it: KindUnknown when the input
// struct does not have it, KindUnsupported when the struct says that it is
// refused. Sizes are bounded (MaxParameters, MaxIndex, MaxNameLength,
// MaxNameDepth and the byte limit given to Parse) and no input makes the
// package panic.
//
// # Input tags
//
// Every exported field of an input struct has a tag
//
//	query:"Name[,option...]"
//
// where Name is the wire name at this level, without index. Options:
//
//	required     absent, or an empty string or list: KindMissing. In a list of
//	             structs it holds for every element that was sent.
//	stored       kept and returned by describe calls, without any other effect.
//	refuse       known to AWS, not honoured here: KindUnsupported when sent.
//	             Usually on a blank field: _ awsquery.Refused `query:"X,refuse"`.
//	unless=v     only with refuse, repeatable: the value v is accepted, because
//	             it asks for what happens anyway (unless=false).
//	item=X       lists in the REST dialect: what the elements are called.
//	enum=a|b|c   strings only (also in lists): any other value is KindInvalid.
//
// An untagged embedded struct is flattened into its parent; query:"-" leaves a
// field out. There is no option to ignore a parameter.
//
// Field types: string, bool, int, int32, int64, float64, time.Time, []byte
// (base64), named types of those, pointers to them (nil: not sent; use them
// wherever "not sent" differs from the zero value), structs and pointers to
// structs, slices of all of these (nil: not sent; empty: sent as "Name=" in the
// Query dialect), and, in the Query dialect only, map[string]T.
// List indices may have holes and come in any order; the slice is in index
// order without the holes. A repeated name is KindDuplicate.
//
// # Output tags
//
// Every exported field of an output struct has a tag
//
//	xml:"name[,omitempty]"     or     xml:"name>element[,omitempty]"
//
// A slice is a wrapper called name with one child per element, called item in
// EC2 and member in Query unless element says otherwise. Nil pointers and zero
// times are left out; an empty list is an empty wrapper, and other empty values
// are written, unless omitempty is set. xml:"-" leaves a field out; an untagged
// embedded struct is flattened. The same field types as for input may be used.
// Booleans are true or false; times are UTC with milliseconds,
// 2006-01-02T15:04:05.000Z; text that XML 1.0 cannot hold becomes U+FFFD.
// An EC2 operation without output passes nil: the answer is <return>true</return>.
//
// # Example
//
//	type CreateVpcEndpointInput struct {
//		DryRun           *bool              `query:"DryRun"`
//		VpcID            string             `query:"VpcId,required"`
//		ServiceName      *string            `query:"ServiceName"`
//		SubnetIDs        []string           `query:"SubnetId"`
//		IPAddressType    string             `query:"IpAddressType,enum=ipv4|dualstack|ipv6"`
//		DNSOptions       *DNSOptions        `query:"DnsOptions"`
//		TagSpecs         []TagSpecification `query:"TagSpecification"`
//		_                awsquery.Refused   `query:"ServiceNetworkArn,refuse"`
//	}
//	type CreateVpcEndpointOutput struct {
//		VpcEndpoint *VpcEndpoint `xml:"vpcEndpoint"`
//		ClientToken *string      `xml:"clientToken"`
//	}
//	type VpcEndpoint struct {
//		ID        string      `xml:"vpcEndpointId"`
//		SubnetIDs []string    `xml:"subnetIdSet"` // <subnetIdSet><item>..</item></subnetIdSet>
//		Groups    []GroupItem `xml:"groupSet"`    // <item><groupId>..</groupId>..</item>
//		Created   time.Time   `xml:"creationTimestamp"`
//	}
//
//	form, body, err := awsquery.Parse(r, 1<<20) // body: for the signature check
//	var in CreateVpcEndpointInput
//	err = awsquery.Decode(awsquery.EC2, form, &in)
//	err = awsquery.WriteEC2(w, requestID, form.Action, out)
//	err = awsquery.WriteEC2Error(w, requestID, 400, "InvalidVpcID.NotFound", "...")
//
// Errors of Parse and Decode are *Error; Code and Message give the AWS spelling.
// Describe lists the parameters of an input struct for generated documentation,
// and package goldentest holds them against the names that the AWS SDK sends.
package awsquery
