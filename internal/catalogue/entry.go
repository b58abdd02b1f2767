// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// Entry is one service of the catalogue, as the operator writes it.
type Entry struct {
	// Name is the short name: s3 gives com.amazonaws.<region>.s3.
	Name string `json:"name"`
	// Types are Gateway, Interface or both. Absent: Gateway with Prefixes, else
	// Interface.
	Types []string `json:"types,omitempty"`
	// Prefixes are the service's public addresses, which gateway endpoints
	// route; Addresses, inside them, are what its names resolve to. With
	// Prefixes6, and addresses inside those too, it is reached over IPv6 as well.
	// A service without a gateway type may have none.
	Prefixes  []string `json:"prefixes,omitempty"`
	Prefixes6 []string `json:"prefixes6,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// PublicNames are the names clients use; "*." covers the names below. Those
	// with the label "dualstack" resolve to addresses of both families, others to
	// IPv4 ones, unless a gateway endpoint's DNS record type says otherwise.
	// Absent: AWS's for the protocol, if there are addresses.
	PublicNames []string `json:"publicNames,omitempty"`
	// PrivateNames are the private DNS names of interface endpoints. Absent: the
	// public names, or AWS's for the protocol if there are none.
	PrivateNames []string `json:"privateNames,omitempty"`
	// Protocol is how requests and policies are read, one of Protocols. Absent:
	// the name, if that is one.
	Protocol string `json:"protocol,omitempty"`
	// Backends are the URLs requests go to, Backend if it is one: http://host:port,
	// https://host:port, or "self" for Postern's own API. Absent for s3: the server
	// that comes with Postern, with its data in the data directory.
	Backend  string   `json:"backend,omitempty"`
	Backends []string `json:"backends,omitempty"`
	// HealthCheck says how backends are checked. Absent: several are, by a
	// connection; one is not.
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
	// TLS are certificates of the operator's.
	TLS *TLS `json:"tls,omitempty"`
	// Identity is how backends are told who a request comes from: "none", also if
	// absent; "proxy", a header of the PROXY protocol version 2 in front of every
	// connection, which is one client's alone; or "header", the header
	// Postern-Identity, signed with the key of the configuration's identityKeyFile.
	Identity string `json:"identity,omitempty"`
	// PolicySupported false refuses endpoint policies: everything is allowed, as
	// at services of AWS that have none.
	PolicySupported *bool `json:"policySupported,omitempty"`
}

// HealthCheck is how the edge finds out which backends answer.
type HealthCheck struct {
	// Path is asked with GET, and 200 to 399 is healthy. Absent: a connection is.
	Path string `json:"path,omitempty"`
	// IntervalSeconds is the time between checks, 1 to 300; 10 if absent.
	// TimeoutSeconds, 1 to 60, is the interval if absent, at most 5.
	IntervalSeconds int `json:"intervalSeconds,omitempty"`
	TimeoutSeconds  int `json:"timeoutSeconds,omitempty"`
	// UnhealthyThreshold failures in a row take a backend out, HealthyThreshold
	// good checks bring it back: 1 to 10, both 2 if absent.
	HealthyThreshold   int `json:"healthyThreshold,omitempty"`
	UnhealthyThreshold int `json:"unhealthyThreshold,omitempty"`
}

// TLS names files with PEM in them; a path may be relative to the file that names
// it. After ReadFiles the fields are what is in the files.
type TLS struct {
	// Certificate is the chain that workloads are shown, leaf first, and PrivateKey
	// the leaf's. Absent: a certificate of Postern's own authority.
	Certificate string `json:"certificate,omitempty"`
	PrivateKey  string `json:"privateKey,omitempty"`
	// BackendCA is whom https backends have their certificates from. Absent: one
	// of the authorities that the host trusts.
	BackendCA string `json:"backendCa,omitempty"`
}

// maxPEM bounds a file of certificates.
const maxPEM = 64 << 10

// ReadFiles puts the contents of the files that an entry names in their place. dir
// is where relative paths start. A problem's Entry is for the caller to set.
func (e *Entry) ReadFiles(dir string) []Problem {
	if e.TLS == nil {
		return nil
	}
	var out []Problem
	tls := *e.TLS
	for field, name := range map[string]*string{"certificate": &tls.Certificate, "privateKey": &tls.PrivateKey, "backendCa": &tls.BackendCA} {
		if *name == "" {
			continue
		}
		path := *name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		text, err := readPEM(path)
		if err != nil {
			out = append(out, Problem{Field: "tls." + field, Text: err.Error()})
		}
		*name = text
	}
	e.TLS = &tls
	return out
}

func readPEM(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxPEM {
		return "", fmt.Errorf("%s is no file of at most %d KiB", path, maxPEM>>10)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// Default is S3 on the public addresses documentation may use, with the backend
// that comes with Postern: what there is without any entry.
func Default() []Entry {
	return []Entry{{
		Name: "s3", Types: []string{"Gateway"}, Protocol: "s3",
		Prefixes:  []string{"198.51.100.0/24", "203.0.113.0/24"},
		Prefixes6: []string{"2001:db8:ff53::/48"},
		Addresses: []string{"198.51.100.10", "203.0.113.10", "2001:db8:ff53::10", "2001:db8:ff53::11"},
	}}
}

// awsNames are the names that AWS's clients use for a protocol's service, with %s
// for the region.
var awsNames = map[string][]string{
	"s3": {
		"s3.%s.amazonaws.com", "*.s3.%s.amazonaws.com", "s3.amazonaws.com", "*.s3.amazonaws.com",
		"s3.dualstack.%s.amazonaws.com", "*.s3.dualstack.%s.amazonaws.com",
	},
	"dynamodb": {"dynamodb.%s.amazonaws.com"}, "sns": {"sns.%s.amazonaws.com"}, "sqs": {"sqs.%s.amazonaws.com"},
	"sts": {"sts.%s.amazonaws.com"}, "ec2": {"ec2.%s.amazonaws.com"},
	"elasticloadbalancing": {"elasticloadbalancing.%s.amazonaws.com"}, "logs": {"logs.%s.amazonaws.com"},
	"ecr.api": {"api.ecr.%s.amazonaws.com"}, "ecr.dkr": {"*.dkr.ecr.%s.amazonaws.com"},
}

// Protocols are the names of the protocols that an entry may have.
func Protocols() []string {
	var out []string
	for name := range awsNames {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// ownAPI are the protocols that Postern's own API speaks.
var ownAPI = []string{"ec2", "elasticloadbalancing", "sts"}

// complete is the entry with everything written out that it leaves to its defaults.
func (e Entry) complete(region string) Entry {
	if _, ok := awsNames[e.Name]; ok && e.Protocol == "" {
		e.Protocol = e.Name
	}
	if len(e.Types) == 0 {
		e.Types = []string{string(vpc.InterfaceEndpoint)}
		if len(e.Prefixes) > 0 {
			e.Types = []string{string(vpc.GatewayEndpoint)}
		}
	}
	var names []string
	for _, n := range awsNames[e.Protocol] {
		names = append(names, strings.ReplaceAll(n, "%s", region))
	}
	if len(e.PublicNames) == 0 && len(e.Addresses) > 0 {
		e.PublicNames = names
	}
	if len(e.PublicNames) == 0 && len(e.PrivateNames) == 0 {
		e.PrivateNames = names
	}
	if e.PolicySupported == nil {
		e.PolicySupported = new(bool)
		*e.PolicySupported = true
	}
	return e
}

// check is the health check of an entry, with its defaults; nil for none.
func (e *Entry) check() *vpc.BackendCheck {
	h := e.HealthCheck
	if h == nil {
		if len(e.Backends) < 2 {
			return nil
		}
		h = &HealthCheck{}
	}
	or := func(n, otherwise int) int {
		if n == 0 {
			return otherwise
		}
		return n
	}
	c := &vpc.BackendCheck{Path: h.Path, Interval: or(h.IntervalSeconds, 10), Healthy: or(h.HealthyThreshold, 2), Unhealthy: or(h.UnhealthyThreshold, 2)}
	c.Timeout = or(h.TimeoutSeconds, min(c.Interval, 5))
	return c
}
