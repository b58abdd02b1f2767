// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// hostLabel reads which bucket a Host header names. ok is false for a name that is
// none of the service's; an empty bucket means path style.
//
// The service's names are its public names, a leading "*." meaning that buckets
// are below, and the names of the endpoint the request came through:
// vpce-...-xxxxxxxx[-zone].<service>.<region>.<domain>, service as
// vpc.CatalogueLabel has it, with the label "bucket" in front for requests to
// buckets, as AWS has it for S3.
func hostLabel(host string, publicNames []string, endpoint vpc.EndpointID, service, region string) (bucket string, ok bool) {
	host, ok = hostName(host)
	if !ok {
		return "", false
	}
	longest := -1
	for _, name := range publicNames {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		base, wild := strings.CutPrefix(name, "*.")
		if base == "" || len(base) < longest {
			continue
		}
		if !wild && host == base {
			return "", true // nothing can fit better
		}
		if front, under := strings.CutSuffix(host, "."+base); wild && under && front != "" {
			longest, bucket = len(base), front
		}
	}
	if longest >= 0 {
		return bucket, true
	}
	return endpointHost(host, endpoint, service, region)
}

// endpointHost is hostLabel for the endpoint's own names.
func endpointHost(host string, endpoint vpc.EndpointID, service, region string) (bucket string, ok bool) {
	if endpoint == "" {
		return "", false
	}
	at := -1
	labels := strings.Split(host, ".")
	for i, l := range labels {
		if strings.HasPrefix(l, string(endpoint)+"-") {
			at = i // the last one: what is in front is a bucket's name
		}
	}
	if at < 0 || !strings.HasPrefix(strings.Join(labels[at+1:], "."), vpc.CatalogueLabel(service)+"."+region+".") {
		return "", false
	}
	front := labels[:at]
	if n := len(front); n > 0 {
		switch front[n-1] {
		case "bucket":
			front = front[:n-1]
		case "accesspoint", "control":
			return "", false // other APIs of S3, which are not served
		}
	}
	return strings.Join(front, "."), true
}

// hostName lowers a Host header and takes its port and final dot off; ok is
// false if it is no DNS name.
func hostName(host string) (name string, ok bool) {
	if strings.Contains(host, ":") {
		h, port, err := net.SplitHostPort(host)
		if err != nil || strings.Trim(port, "0123456789") != "" {
			return "", false
		}
		host = h
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return "", false
	}
	b := []byte(host)
	for i, c := range b {
		switch {
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > 0 && b[i-1] != '.':
		default:
			return "", false
		}
	}
	return string(b), true
}
