// SPDX-License-Identifier: Apache-2.0

package services

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// ECR is the API of Amazon Elastic Container Registry.
var ECR = &Service{
	Namespace: "ecr", signing: []string{"ecr"}, target: "AmazonEC2ContainerRegistry_V20150921", maxBody: 32 << 20,
	operations: table(
		all(repository, `BatchCheckLayerAvailability BatchDeleteImage BatchGetImage CompleteLayerUpload CreateRepository DeleteLifecyclePolicy
			DeleteRepository DeleteRepositoryPolicy DescribeImageReplicationStatus DescribeImages DescribeImageScanFindings
			GetDownloadUrlForLayer GetLifecyclePolicy GetLifecyclePolicyPreview GetRepositoryPolicy InitiateLayerUpload ListImages
			PutImage PutImageScanningConfiguration PutImageTagMutability PutLifecyclePolicy SetRepositoryPolicy StartImageScan
			StartLifecyclePolicyPreview UploadLayerPart`),
		all(repositories, `DescribeRepositories BatchGetRepositoryScanningConfiguration`),
		all(tagged(byARN("", "resourceArn"), "tags", "Key", "Value", "tagKeys"), `ListTagsForResource TagResource UntagResource`),
		all(everywhere, `CreatePullThroughCacheRule DeletePullThroughCacheRule DeleteRegistryPolicy DescribePullThroughCacheRules DescribeRegistry
			GetAuthorizationToken GetRegistryPolicy GetRegistryScanningConfiguration PutRegistryPolicy PutRegistryScanningConfiguration
			PutReplicationConfiguration ValidatePullThroughCacheRule GetAccountSetting PutAccountSetting`),
	),
}

// repositoryName is the registry's grammar of a name.
var repositoryName = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

// repositoryARN is the ARN of a repository in a registry, an account's.
func (r *reader) repositoryARN(registry, name string) (string, *call.Error) {
	if registry == "" {
		registry = r.account
	}
	if len(name) > 256 || !repositoryName.MatchString(name) || strings.Trim(registry, "0123456789") != "" {
		return "", invalid("The name of the repository is not valid.")
	}
	return "arn:aws:ecr:" + r.region + ":" + registry + ":repository/" + name, nil
}

func repository(r *reader) *call.Error {
	registry, e := r.values.text("registryId")
	if e != nil {
		return e
	}
	name, e := r.values.text("repositoryName")
	if e != nil {
		return e
	}
	arn, e := r.repositoryARN(registry, name)
	if e != nil {
		return e
	}
	r.add(r.name, arn)
	return tagged(func(*reader) *call.Error { return nil }, "tags", "Key", "Value", "")(r)
}

// repositories is an operation on a list of repositories, or on all.
func repositories(r *reader) *call.Error {
	registry, e := r.values.text("registryId")
	if e != nil {
		return e
	}
	names, e := r.values.list("repositoryNames")
	if e != nil {
		return e
	}
	for _, n := range names {
		arn, e := r.repositoryARN(registry, n)
		if e != nil {
			return e
		}
		r.add(r.name, arn)
	}
	if len(names) == 0 {
		if registry == "" {
			registry = r.account
		}
		if strings.Trim(registry, "0123456789") != "" {
			return invalid("The registry is not valid.")
		}
		r.add(r.name, "arn:aws:ecr:"+r.region+":"+registry+":repository/*")
	}
	return nil
}

// registryPath takes apart /v2/<name>/<kind>/<rest>.
var registryPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags|referrers)/(.+)$`)

var (
	reference = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]{0,127}|[a-z0-9+._-]+:[0-9a-fA-F]{32,128})$`)
	uploadID  = regexp.MustCompile(`^uploads/([A-Za-z0-9._=-]{1,512})?$`)
)

// ReadRegistry says what a request to ECR's registry does, which speaks the
// protocol of OCI distribution. The label of the host is the registry: an account.
// Whoever calls is in a token that only the registry can read: to policies it is
// nobody.
func ReadRegistry(r call.Request) (*call.Call, *call.Error) {
	path, rawQuery, e := call.SplitURI(r.URI)
	if e != nil {
		return nil, e
	}
	if e := call.CheckHeaders(r.Header); e != nil {
		return nil, e
	}
	q, e := call.ParseQuery(rawQuery, r.Header)
	if e != nil {
		return nil, e
	}
	c := call.New()
	c.Set("aws:UserAgent", r.Header.Get("User-Agent"))
	rc := &reader{Call: c, service: ECR, region: r.Region, account: r.Label}
	unknown := func() (*call.Call, *call.Error) {
		c.MakeUnknown("ecr", "no action is known for %s of this path", r.Method)
		return c, nil
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || decoded != path || strings.Contains(path, "//") || strings.Contains(path, "/.") {
		return nil, call.ErrURI // names need no escapes
	}
	if r.Label == "" || strings.Trim(r.Label, "0123456789") != "" {
		return nil, invalid("The host does not name a registry.")
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if path == "/v2/" && read {
		rc.add("GetAuthorizationToken", "*") // the answer says how to get one
		return c, nil
	}
	m := registryPath.FindStringSubmatch(path)
	if m == nil {
		return unknown()
	}
	name, kind, rest := m[1], m[2], m[3]
	arn, e := rc.repositoryARN(r.Label, name)
	if e != nil {
		return nil, e
	}
	allowed := func(names ...string) bool {
		for p := range q.Plain {
			ok := false
			for _, n := range names {
				ok = ok || p == n
			}
			if !ok {
				return false
			}
		}
		return true
	}
	upload := kind == "blobs" && uploadID.MatchString(rest)
	switch {
	case kind == "manifests" && reference.MatchString(rest) && read && allowed("ns"):
		rc.add("BatchGetImage", arn)
	case kind == "manifests" && reference.MatchString(rest) && r.Method == http.MethodPut && allowed():
		rc.add("PutImage", arn)
	case kind == "manifests" && reference.MatchString(rest) && r.Method == http.MethodDelete && allowed():
		rc.add("BatchDeleteImage", arn)
	case kind == "blobs" && reference.MatchString(rest) && r.Method == http.MethodHead && allowed("ns"):
		rc.add("BatchCheckLayerAvailability", arn)
	case kind == "blobs" && reference.MatchString(rest) && r.Method == http.MethodGet && allowed("ns"):
		rc.add("BatchCheckLayerAvailability", arn)
		rc.add("GetDownloadUrlForLayer", arn)
	case upload && rest == "uploads/" && r.Method == http.MethodPost && allowed("digest", "mount", "from"):
		rc.add("InitiateLayerUpload", arn)
		if q.Plain["digest"] != "" { // all in one
			rc.add("UploadLayerPart", arn)
			rc.add("CompleteLayerUpload", arn)
		}
		if q.Plain["mount"] != "" {
			// A layer of another repository: reading it there is part of it. Without
			// a name, any repository may be meant.
			from := "arn:aws:ecr:" + r.Region + ":" + r.Label + ":repository/*"
			if f := q.Plain["from"]; f != "" {
				if from, e = rc.repositoryARN(r.Label, f); e != nil {
					return nil, e
				}
			}
			rc.add("BatchCheckLayerAvailability", from)
			rc.add("GetDownloadUrlForLayer", from)
		}
	case upload && rest != "uploads/" && r.Method == http.MethodPatch && allowed("_state"):
		rc.add("UploadLayerPart", arn)
	case upload && rest != "uploads/" && r.Method == http.MethodPut && allowed("digest", "_state"):
		rc.add("UploadLayerPart", arn)
		rc.add("CompleteLayerUpload", arn)
	case upload && rest != "uploads/" && read && allowed("_state"):
		rc.add("InitiateLayerUpload", arn) // how far an upload has come
	case kind == "tags" && rest == "list" && r.Method == http.MethodGet && allowed("n", "last"):
		rc.add("ListImages", arn)
	case kind == "referrers" && reference.MatchString(rest) && r.Method == http.MethodGet && allowed("artifactType"):
		rc.add("ListImages", arn)
	default:
		return unknown()
	}
	return c, nil
}
