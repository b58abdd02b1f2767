// SPDX-License-Identifier: Apache-2.0

// Package route53resolver is the part of the Route 53 Resolver API (version
// 2018-04-01, JSON) that says who may ask the VPCs' resolver and whom it asks:
// endpoints, rules and their associations. One file per family of actions,
// each an input struct, an output struct and a function between them; awsjson
// and awsquery read and write the structs, control does the work.
//
// What is not registered (DNS firewall, query logs, DNSSEC validation, sharing)
// answers UnknownOperationException by name; a parameter that is known to AWS
// and not honoured here is a refused field of the input and fails by name.
package route53resolver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sort"
	"time"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// Call is one authenticated request on its way through an action.
type Call = actions.Call

// Actions holds the actions that exist.
var Actions = actions.Table{Service: awsquery.ServiceRoute53Resolver, Code: errorCode}

// register adds an action. fn gets the decoded input.
func register[In, Out any](name string, fn func(*Call, *In) (*Out, error)) {
	actions.Add(&Actions, name, fn)
}

// byKind holds the codes that depend on the kind of error alone.
var byKind = map[vpc.ErrorKind]string{
	vpc.NotFound:        "ResourceNotFoundException",
	vpc.Missing:         "InvalidParameterException",
	vpc.Invalid:         "InvalidParameterException",
	vpc.Malformed:       "InvalidParameterException",
	vpc.BadFilter:       "InvalidParameterException",
	vpc.Duplicate:       "ResourceExistsException",
	vpc.TokenMismatch:   "ResourceExistsException",
	vpc.InUse:           "ResourceInUseException",
	vpc.Limit:           "LimitExceededException",
	vpc.BadToken:        "InvalidNextTokenException",
	vpc.Denied:          "AccessDeniedException",
	vpc.NoAddress:       "InvalidRequestException",
	vpc.AddressInUse:    "InvalidRequestException",
	vpc.AddressMismatch: "InvalidRequestException",
	vpc.Combination:     "InvalidRequestException",
	vpc.Conflict:        "InvalidRequestException",
	vpc.NotPermitted:    "InvalidRequestException",
	vpc.WrongState:      "InvalidRequestException",
	vpc.Unsupported:     "InvalidRequestException",
}

// parameters are the objects that only parameters of the service are.
var parameters = []vpc.Kind{vpc.KindSubnet, vpc.KindGroup, vpc.KindVPC}

// errorCode turns an error into AWS's code, HTTP status and message. What is
// no error of ours is an internal error whose text stays here.
func errorCode(_ string, err error) (code string, status int, message string) {
	var q *awsquery.Error
	if errors.As(err, &q) {
		code, status := q.Code(awsquery.JSON)
		switch q.Kind {
		case awsquery.KindInvalid, awsquery.KindMissing, awsquery.KindUnknown, awsquery.KindUnsupported, awsquery.KindTooMany:
			code = "InvalidParameterException"
		}
		return code, status, q.Message()
	}
	var e *vpc.Error
	if !errors.As(err, &e) {
		return "InternalServiceErrorException", http.StatusInternalServerError, "An internal error has occurred"
	}
	switch {
	case e.Kind == vpc.Unavailable:
		return "InternalServiceErrorException", http.StatusServiceUnavailable, e.Error()
	case e.Kind == vpc.NotFound && slices.Contains(parameters, vpc.Kind(e.Resource)):
		code = "InvalidParameterException"
	case e.Kind == vpc.Invalid && e.Resource == "Tag":
		code = "InvalidTagException"
	default:
		code = byKind[e.Kind]
	}
	if code == "" {
		code = "InvalidRequestException"
	}
	return code, http.StatusBadRequest, e.Error()
}

// pageLimit is the largest MaxResults, and the page size when none is given.
const pageLimit = 100

// Page is embedded by the inputs of the actions that list.
type Page struct {
	MaxResults *int32 `query:"MaxResults"`
	NextToken  string `query:"NextToken"`
}

// size is how many items a page has.
func (p Page) size() (int, error) {
	if p.MaxResults == nil {
		return pageLimit, nil
	}
	if n := *p.MaxResults; n < 1 || n > pageLimit {
		return 0, vpc.Errorf(vpc.Invalid, "MaxResults", "", "MaxResults '%d' must be from 1 to %d", n, pageLimit)
	}
	return int(*p.MaxResults), nil
}

// paginate cuts a list to a page that starts after the token's key, in the
// order of the keys, and answers the token of the next one.
func paginate[T any](list []T, p Page, key func(T) string) ([]T, *string, error) {
	limit, err := p.size()
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(list, func(a, b T) int {
		if key(a) < key(b) {
			return -1
		}
		return 1
	})
	if p.NextToken != "" {
		after, err := openToken(p.NextToken)
		if err != nil {
			return nil, nil, err
		}
		list = list[sort.Search(len(list), func(i int) bool { return key(list[i]) > after }):]
	}
	if len(list) <= limit {
		return list, nil, nil
	}
	next := sealToken(key(list[limit-1]))
	return list[:limit], &next, nil
}

// A token is the last key of the page before it and a checksum, so that what
// is not ours is recognised. It grants nothing: a key is no secret.
func sealToken(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(checksum(key) + key))
}

func openToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 8 || checksum(string(b[8:])) != string(b[:8]) {
		return "", vpc.Errorf(vpc.BadToken, "NextToken", "", "Invalid value passed for the NextToken parameter: '%.64s'", token)
	}
	return string(b[8:]), nil
}

func checksum(key string) string {
	h := sha256.Sum256([]byte("postern resolver page " + key))
	return hex.EncodeToString(h[:4])
}

// Filter is a filter of a list.
type Filter struct {
	Name   string   `query:"Name,required"`
	Values []string `query:"Values,required"`
}

// filters are what a list can be filtered by: names with their values in an
// item. AWS's names are CamelCase; its older ones, in capitals, are the same.
type filters[T any] map[string]func(T) []string

// withOld adds the older names.
func (f filters[T]) withOld(names map[string]string) filters[T] {
	for old, name := range names {
		f[old] = f[name]
	}
	return f
}

// maxFilterValues bounds the filters of one call.
const maxFilterValues = 200

// keep keeps what all filters match: one of a filter's values is one of the item's.
func (f filters[T]) keep(list []T, by []Filter) ([]T, error) {
	n := 0
	for _, x := range by {
		of, ok := f[x.Name]
		if !ok {
			return nil, vpc.Errorf(vpc.BadFilter, "Filters", x.Name, "The filter '%s' is invalid", x.Name)
		}
		if n += len(x.Values); n > maxFilterValues {
			return nil, vpc.Errorf(vpc.Invalid, "Filters", "", "At most %d filter values are accepted", maxFilterValues)
		}
		list = slices.DeleteFunc(list, func(item T) bool {
			return !slices.ContainsFunc(of(item), func(v string) bool { return slices.Contains(x.Values, v) })
		})
	}
	return list, nil
}

// rfc3339 is a time as the service writes it.
func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// address reads an address of a family; "" is the zero Addr.
func address(parameter, s string, six bool) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is6() != six || a.Is4In6() || a.Zone() != "" {
		family := map[bool]string{false: "IPv4", true: "IPv6"}[six]
		return netip.Addr{}, vpc.Errorf(vpc.Invalid, parameter, s, "'%.64s' is not a valid %s address (%s)", s, family, parameter)
	}
	return a, nil
}

// ids converts wire ids.
func ids[T ~string](list []string) []T {
	var out []T
	for _, s := range list {
		out = append(out, T(s))
	}
	return out
}
