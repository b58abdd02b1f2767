// SPDX-License-Identifier: Apache-2.0

package repocheck

import "strings"

// Module is this module's path.
const Module = "postern.dev/postern"

// ImportRule says which of our own packages a package may import. Paths are
// relative to the module; "x/..." is x and everything below. The first rule
// that matches a package is its rule. Test files are free, and so are packages
// below test/ and those whose name ends in "test", which only test files may
// import.
type ImportRule struct {
	Package string
	May     []string
	Why     string
}

// ImportRules is the order of the layers, domain first.
var ImportRules = []ImportRule{
	{"internal/vpc", nil,
		"the domain knows nothing but itself, so that every rule in it can be read and tested alone"},
	{"internal/policy", nil,
		"policies are evaluated by the edge, by the API and by tests; the evaluator must not depend on who asks"},
	{"internal/catalogue", []string{"internal/vpc"},
		"what an entry of the catalogue says is a pure function of its text and of the services there are; who reads and stores it is outside"},
	{"internal/yamlfile", nil,
		"a file is read the same way whatever it is about"},
	{"internal/desired", []string{"internal/vpc", "internal/policy"},
		"what a host should hold is a pure function of the domain; it must not see the store it came from or the kernel it goes to"},
	{"internal/authz", []string{"internal/vpc", "internal/policy"},
		"what a caller may do is a pure function of the call and the domain, so that it can be tested as a table"},
	{"internal/explain", []string{"internal/vpc", "internal/policy"},
		"the reference model judges desired and the datapath, so it must share nothing with them"},

	{"internal/store", []string{"internal/vpc"},
		"the store keeps objects of the domain and knows no use case"},
	{"internal/control", []string{"internal/catalogue", "internal/store", "internal/desired", "internal/authz", "internal/vpc", "internal/policy"},
		"use cases are transactions over the domain; XML, HTTP and hosts reach them through the packages around"},

	{"internal/audit", nil,
		"a record is text about a call; whoever answers calls fills it in"},
	{"internal/api/sigv4", nil,
		"signatures are checked on bytes alone; the key lookup is a function handed in"},
	{"internal/api/awsquery", nil,
		"the wire codec works on documented structs and knows no action"},
	{"internal/api/awsjson", []string{"internal/api/awsquery"},
		"its parameters become the other codec's, so that nothing behind it knows which it was"},
	{"internal/api/actions", []string{"internal/api/awsjson", "internal/api/awsquery", "internal/control", "internal/vpc"},
		"the way of a call is the same for every service; what an action does is the service's"},
	{"internal/api/ec2", []string{"internal/api/actions", "internal/api/awsquery", "internal/control", "internal/vpc", "internal/policy"},
		"an action is decode, one use case, encode; it never opens the store itself, and it gets an identity, not a signature"},
	{"internal/api/elbv2", []string{"internal/api/actions", "internal/api/awsquery", "internal/control", "internal/vpc", "internal/policy"},
		"an action is decode, one use case, encode"},
	{"internal/api/iam", []string{"internal/api/actions", "internal/api/awsquery", "internal/control", "internal/vpc", "internal/policy"},
		"an action is decode, one use case, encode"},
	{"internal/api/route53", []string{"internal/api/actions", "internal/api/awsquery", "internal/control", "internal/vpc"},
		"an action is decode, one use case, encode"},
	{"internal/api/route53resolver", []string{"internal/api/actions", "internal/api/awsquery", "internal/control", "internal/vpc"},
		"an action is decode, one use case, encode"},
	{"internal/api/sts", []string{"internal/api/actions", "internal/api/awsquery", "internal/control", "internal/vpc", "internal/policy"},
		"an action is decode, one use case, encode"},
	{"internal/api/admin", []string{"internal/audit", "internal/catalogue", "internal/control", "internal/desired", "internal/vpc", "internal/policy"},
		"the operator's calls are use cases too, without AWS's wire format"},
	{"internal/api/...", []string{"internal/api/...", "internal/audit", "internal/authz", "internal/control", "internal/vpc", "internal/policy"},
		"the front door joins signature, codec, actions and the record of calls"},

	{"internal/hostsync", []string{"internal/desired", "internal/vpc", "internal/pki"},
		"the stream carries desired state and status between ends that certificates name; both may change behind it"},
	{"internal/reconcile", []string{"internal/desired", "internal/vpc"},
		"the loop applies plain values and knows no adapter"},
	{"internal/agent", []string{"internal/hostsync", "internal/reconcile", "internal/desired", "internal/vpc"},
		"the agent joins the stream to the reconcilers; it never sees the store and makes no kernel call itself"},

	{"internal/link", []string{"internal/desired", "internal/vpc", "internal/policy", "internal/reconcile"},
		"adapters never import one another: what touches devices must not know about maps or names"},
	{"internal/datapath", []string{"bpf", "internal/desired", "internal/vpc", "internal/policy", "internal/reconcile"},
		"the only package that loads programs and owns maps; it takes plain values and sees no other adapter"},
	{"internal/resolver", []string{"internal/desired", "internal/vpc", "internal/policy", "internal/reconcile"},
		"adapters never import one another"},
	{"internal/edge/caller", nil,
		"what a backend is told of a caller is made of plain values, so that its format can be read in one place"},
	{"internal/edge/tally", nil,
		"counts are plain values, and their file is a format of its own that other commands read"},
	{"internal/edge/call", nil,
		"a request and the call made of it are plain values; every protocol reads them alike"},
	{"internal/edge/s3", []string{"internal/edge/call"},
		"what a request does is a pure function of the request; who may do it is asked elsewhere"},
	{"internal/edge/dynamodb", []string{"internal/edge/call"},
		"what a request does is a pure function of the request; who may do it is asked elsewhere"},
	{"internal/edge/services", []string{"internal/edge/call"},
		"what a request does is a pure function of the request; who may do it is asked elsewhere"},
	{"internal/edge", []string{"internal/desired", "internal/edge/...", "internal/vpc", "internal/policy", "internal/reconcile"},
		"adapters never import one another, and not api/sigv4: the edge only narrows, whether a signature is right is the backend's to say"},
	{"internal/nlb", []string{"internal/desired", "internal/vpc", "internal/policy", "internal/reconcile"},
		"target health and the target table need the desired state and nothing of the kernel"},

	{"internal/notify", []string{"internal/api/sigv4", "internal/control", "internal/vpc"},
		"what stands behind topics gets plain values from control and answers with an outcome; it never opens the store"},

	{"internal/supervise", nil,
		"the parent process runs as root and reads no tenant's byte: it must stay too small to have a bug"},
	{"internal/privilege", nil,
		"giving up privileges is done before anything else runs, with nothing else linked to it"},
	{"internal/pki", nil,
		"certificates are made from names and keys, whoever they are for"},
	{"internal/doctor", nil,
		"the doctor runs on hosts where nothing else can; it asks the kernel and no other package"},
	{"internal/console", nil,
		"the console serves files; it reaches the installation through the API like everybody"},

	{"bpf/...", nil,
		"generated bindings and their generators"},
	{"internal/gendocs", []string{"internal/api/...", "internal/control", "internal/datapath", "internal/resolver", "internal/vpc"},
		"writes documents from the code's own tables; nothing is built from it"},
	{"internal/repocheck/...", []string{"internal/repocheck"},
		"checks the others by reading them"},
	{"cmd/...", []string{"..."},
		"the one visible place that names concrete adapters and wires them"},
}

// ModuleRule says which packages may import a module from outside and why we
// have it. Only lists path patterns as in ImportRule; empty means test files
// only. Every direct dependency in go.mod needs a row here and in
// docs/dependencies.md.
type ModuleRule struct {
	Path string // the module's path, or the start it shares with its siblings, ending in "/"
	Only []string
	Why  string
}

// ModuleRules is the list of everything from outside.
var ModuleRules = []ModuleRule{
	{"github.com/cilium/ebpf", []string{"internal/datapath", "bpf/..."},
		"one package owns programs and maps"},
	{"github.com/vishvananda/netlink", []string{"internal/link", "test/bench"},
		"raw netlink calls need care (locked threads, interrupted dumps) that is taken in one place; a benchmark empties another path's connection table"},
	{"github.com/vishvananda/netns", []string{"internal/link"},
		"a goroutine left in a foreign namespace is a bug of the whole process; one package makes sure"},
	{"go.etcd.io/etcd/", []string{"internal/store"},
		"the store is the only one that knows what it is made of"},
	{"go.uber.org/zap", []string{"internal/store"},
		"etcd wants its logger; everybody else uses log/slog"},
	{"github.com/hashicorp/go-immutable-radix/v2", []string{"internal/store"},
		"the snapshot's tree"},
	{"github.com/miekg/dns", []string{"internal/resolver", "cmd/..."},
		"DNS messages are parsed in one place; the binary reads the host's resolv.conf with it"},
	{"github.com/cespare/xxhash/v2", []string{"internal/datapath"},
		"the hash of the target table (Maglev), which lies in the datapath's maps"},
	{"github.com/spf13/cobra", []string{"cmd/..."},
		"commands and flags are the binary's business"},
	{"go.yaml.in/yaml/v3", []string{"internal/yamlfile"},
		"files that people write are read strictly, with lines, in one place"},
	{"github.com/prometheus/client_golang", []string{"cmd/..."},
		"metrics are shown by a command"},
	{"github.com/prometheus/common", []string{"cmd/..."},
		"the text format of the same project"},
	{"github.com/coreos/go-systemd/v22", []string{"cmd/..."},
		"only the binary talks to the service manager"},
	{"golang.org/x/sys", []string{"cmd/...", "internal/datapath", "internal/doctor", "internal/edge", "internal/link", "internal/nlb", "internal/privilege", "internal/resolver", "internal/supervise"},
		"the kernel's own names; the domain and the control plane have no business with them"},

	{"github.com/aws/aws-sdk-go-v2/", nil, "a client to test against, never a part of the server"},
	{"github.com/aws/aws-sdk-go-v2", nil, "a client to test against, never a part of the server"},
	{"github.com/aws/smithy-go/aws-http-auth", nil, "a second signer whose signatures must verify, in tests"},
	{"github.com/aws/smithy-go", nil, "what the SDK's errors are made of, for tests that look into them"},
	{"github.com/google/go-cmp", nil, "readable differences in tests"},
	{"github.com/gopacket/gopacket", nil, "an independent opinion on packet bytes, in tests"},
	{"github.com/hashicorp/aws-sdk-go-base/v2", nil, "Terraform's layer over the SDK, to test against"},
	{"github.com/hashicorp/awspolicyequivalence", nil, "Terraform's comparison of policies, to test against"},
	{"github.com/rogpeppe/go-internal", nil, "test scripts"},
	{"go.uber.org/goleak", nil, "tests that leave no goroutine"},
	{"pgregory.net/rapid", nil, "property tests"},
}

// Matches says whether a path relative to the module fits a pattern.
func Matches(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return pattern == path
}

// RuleFor finds the rule of a package.
func RuleFor(pkg string) (ImportRule, bool) {
	for _, r := range ImportRules {
		if Matches(r.Package, pkg) {
			return r, true
		}
	}
	return ImportRule{}, false
}

// ModuleRuleFor finds the rule of an import path from outside the module.
func ModuleRuleFor(path string) (ModuleRule, bool) {
	for _, r := range ModuleRules {
		if path == r.Path || strings.HasPrefix(path, strings.TrimSuffix(r.Path, "/")+"/") {
			return r, true
		}
	}
	return ModuleRule{}, false
}

// IsTestPackage says whether a package exists for tests: it is below test/ or
// its last element ends in "test".
func IsTestPackage(pkg string) bool {
	return strings.HasSuffix(pkg, "test") || strings.HasPrefix(pkg, "test/")
}
