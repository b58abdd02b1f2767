// SPDX-License-Identifier: Apache-2.0

// Package route53 is the part of the Route 53 API (version 2013-04-01) that
// private hosted zones need: what Terraform's aws_route53_zone, aws_route53_record
// and aws_route53_zone_association call, and what people do by hand. Each action
// is a method and a path, an input struct, an output struct and a function
// between them; awsquery reads and writes the structs, control does the work.
//
// There are no public zones, health checks, traffic policies, delegation sets or
// DNSSEC, and no routing policy but the simple one: a parameter that asks for
// one of them is refused by name.
package route53

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// Call is one authenticated request on its way through an action.
type Call = actions.Call

// Actions holds the actions that exist.
var Actions = actions.Table{Service: awsquery.ServiceRoute53, Code: errorCode}

// route is where an action is: a method and the pieces of a path after the
// version; a piece in braces is a parameter.
type route struct {
	method string
	pieces []string
	action string
}

var routes []route

// register adds an action.
func register[In, Out any](method, path, name string, fn func(*Call, *In) (*Out, error)) {
	routes = append(routes, route{method, strings.Split(path, "/"), name})
	actions.Add(&Actions, name, fn)
}

// Parse reads a request, of which method and path say what it asks for. Where
// no action is, the form's action is the method and path.
func Parse(r *http.Request, maxBytes int64) (*awsquery.Form, []byte, error) {
	return awsquery.ParseREST(r, operation(r.Method, r.URL.EscapedPath()), maxBytes)
}

func operation(method, path string) awsquery.Operation {
	none := awsquery.Operation{Action: method + " " + path, Version: awsquery.ServiceRoute53.Version}
	version, rest, ok := strings.Cut(strings.Trim(path, "/"), "/")
	if !ok {
		return none
	}
	none.Version = version
	pieces := strings.Split(rest, "/")
	for _, r := range routes {
		if labels, ok := r.match(method, pieces); ok {
			return awsquery.Operation{Action: r.action, Version: version, Labels: labels, Input: Actions.Input(r.action)}
		}
	}
	return none
}

func (r route) match(method string, pieces []string) (map[string]string, bool) {
	if method != r.method || len(pieces) != len(r.pieces) {
		return nil, false
	}
	labels := map[string]string{}
	for i, p := range r.pieces {
		value, err := url.PathUnescape(pieces[i])
		switch label, ok := strings.CutPrefix(p, "{"); {
		case err != nil || value == "":
			return nil, false
		case ok:
			labels[strings.TrimSuffix(label, "}")] = value
		case p != value:
			return nil, false
		}
	}
	return labels, true
}

// void is the output of actions that answer nothing.
type void struct{}

// zoneID is a hosted zone's id as sent: with or without what answers have before it.
func zoneID(s string) vpc.HostedZoneID {
	return vpc.HostedZoneID(strings.TrimPrefix(strings.TrimPrefix(s, "/"), zonePrefix))
}

// What ids have before them in answers, but for the slash.
const (
	zonePrefix   = "hostedzone/"
	changePrefix = "change/"
)

// VPC names a VPC and its region.
type VPC struct {
	Region string `query:"VPCRegion" xml:"VPCRegion"`
	ID     string `query:"VPCId" xml:"VPCId"`
}

// vpcID is the id of a VPC of this region.
func vpcID(c *Call, v VPC) (vpc.VPCID, error) {
	return inRegion(c, v.ID, v.Region)
}

func inRegion(c *Call, id, region string) (vpc.VPCID, error) {
	here := c.Control.Region().Name
	switch {
	case id == "":
		return "", vpc.Errorf(vpc.Missing, "VPCId", "", "The request must contain the parameter VPCId")
	case region != "" && region != here:
		return "", vpc.Errorf(vpc.NotFound, string(vpc.KindVPC), id, "The VPC ID is invalid: there is no region %.64s here, only %s.", region, here)
	}
	return vpc.VPCID(id), nil
}

// ChangeInfo says how far a change is.
type ChangeInfo struct {
	ID        string    `xml:"Id"`
	Status    string    `xml:"Status"`
	Submitted time.Time `xml:"SubmittedAt"`
	Comment   string    `xml:"Comment,omitempty"`
}

// changeInfo is a change as the call that makes it answers it.
func changeInfo(c *vpc.DNSChange) ChangeInfo {
	return ChangeInfo{ID: "/" + changePrefix + c.ID, Status: "PENDING", Submitted: c.Submitted, Comment: c.Comment}
}

// ChangeOutput is the output of actions that change a zone and nothing else.
type ChangeOutput struct {
	ChangeInfo ChangeInfo `xml:"ChangeInfo"`
}

// changed is the output of a use case that makes a change.
func changed(c *vpc.DNSChange, err error) (*ChangeOutput, error) {
	if err != nil {
		return nil, err
	}
	return &ChangeOutput{changeInfo(c)}, nil
}

// maxItems is the largest page, and the one that is answered if none is asked for.
const maxItems = 100

// pageSize is how many are asked for; more than the largest page is that.
func pageSize(parameter string, n *int32, largest int) (int, error) {
	switch {
	case n == nil:
		return largest, nil
	case *n < 1:
		return 0, vpc.Errorf(vpc.Invalid, parameter, "", "The value %d of %s is not a positive number", *n, parameter)
	}
	return min(int(*n), largest), nil
}

// page cuts a list that is in the order of its keys to at most n from the first
// key that is not before start; next is the key that the following page begins with.
func page[T any](list []T, key func(T) string, start string, n int) (out []T, next string) {
	i, _ := slices.BinarySearchFunc(list, start, func(x T, k string) int { return cmp.Compare(key(x), k) })
	list = list[i:]
	if len(list) <= n {
		return list, ""
	}
	return list[:n], key(list[n])
}

// errorCode turns an error into AWS's code, HTTP status and message. What is
// no error of ours is an internal error whose text stays here.
func errorCode(_ string, err error) (code string, status int, message string) {
	var q *awsquery.Error
	if errors.As(err, &q) {
		code, status := q.Code(awsquery.REST)
		return code, status, q.Message()
	}
	var e *vpc.Error
	if !errors.As(err, &e) {
		return "InternalFailure", http.StatusInternalServerError, "An internal error has occurred"
	}
	if c, ok := codes[e.Kind][e.Resource]; ok {
		return c.name, c.status, e.Error()
	}
	if c, ok := codes[e.Kind][""]; ok {
		return c.name, c.status, e.Error()
	}
	return "InvalidInput", http.StatusBadRequest, e.Error()
}

type code struct {
	name   string
	status int
}

// codes are Route 53's for errors of the domain, by kind and resource.
var codes = map[vpc.ErrorKind]map[string]code{
	vpc.NotFound: {
		string(vpc.KindHostedZone): {"NoSuchHostedZone", http.StatusNotFound},
		string(vpc.KindDNSChange):  {"NoSuchChange", http.StatusNotFound},
		string(vpc.KindVPC):        {"InvalidVPCId", http.StatusBadRequest},
		"vpc-association":          {"VPCAssociationNotFound", http.StatusNotFound},
		"vpc-authorization":        {"VPCAssociationAuthorizationNotFound", http.StatusNotFound},
	},
	vpc.Duplicate: {string(vpc.KindHostedZone): {"HostedZoneAlreadyExists", http.StatusConflict}},
	vpc.Conflict:  {string(vpc.KindHostedZone): {"ConflictingDomainExists", http.StatusBadRequest}},
	vpc.InUse:     {string(vpc.KindHostedZone): {"HostedZoneNotEmpty", http.StatusBadRequest}},
	vpc.Limit: {
		string(vpc.KindHostedZone): {"TooManyHostedZones", http.StatusBadRequest},
		"vpc-authorization":        {"TooManyVPCAssociationAuthorizations", http.StatusBadRequest},
		"":                         {"LimitsExceeded", http.StatusBadRequest},
		"tag":                      {"InvalidInput", http.StatusBadRequest},
	},
	vpc.Invalid: {
		"change-batch": {"InvalidChangeBatch", http.StatusBadRequest},
		"domain-name":  {"InvalidDomainName", http.StatusBadRequest},
		"dnssec":       {"InvalidArgument", http.StatusBadRequest},
	},
	vpc.WrongState:   {"vpc-association": {"LastVPCAssociation", http.StatusBadRequest}},
	vpc.NotPermitted: {"": {"NotAuthorizedException", http.StatusUnauthorized}},
	vpc.Denied:       {"": {"AccessDenied", http.StatusForbidden}},
	vpc.BadToken:     {"": {"InvalidPaginationToken", http.StatusBadRequest}},
	vpc.Unavailable:  {"": {"ServiceUnavailable", http.StatusServiceUnavailable}},
}
